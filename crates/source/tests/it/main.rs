//! Embedded streams and the source on them, on a real log in a temporary directory.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

mod streams;

mod retention;

mod embedded;
