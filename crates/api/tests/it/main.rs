//! The Kinesis protocol over real connections on loopback, on a real log in a temporary directory.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::too_many_lines, reason = "tables of cases")]

mod support;

mod control;

mod put;

mod read;

mod cbor;

mod transport;
