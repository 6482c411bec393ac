//! The front door's public face, and the stages put together.
#![expect(clippy::unwrap_used, reason = "tests")]

mod config;

mod operations;

mod partitions;

mod rendering;
