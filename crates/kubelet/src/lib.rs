//! Runs the pods of one node on Docker Engine.
