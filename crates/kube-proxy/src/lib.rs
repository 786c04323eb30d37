//! Turns Services into nftables maps.
