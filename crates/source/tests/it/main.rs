//! Embedded streams and the source on them, on a real log in a temporary directory; the source on a
//! remote stream, against a fake.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

mod streams;

mod retention;

mod embedded;

mod cbor;

mod fake_kinesis;

mod kinesis;
