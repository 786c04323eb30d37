//! What every daemon shares: main(), logging, TLS, health, metrics, shutdown, named tasks, backoff.
