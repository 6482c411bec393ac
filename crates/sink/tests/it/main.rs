//! The sinks from outside: files in a temporary folder, objects in a real S3 server.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(
    clippy::disallowed_methods,
    reason = "real servers and disks live in real time"
)]

mod support;

mod directory;

mod stdout;

mod fake;

mod s3;

mod s3_faults;

mod s3_stalls;

mod s3_abandoned;
