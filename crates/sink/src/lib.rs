//! Puts an object where it belongs, tries again, and writes what could not be delivered.
//!
//! Takes objects as chunks of bytes and gives back that they are durable, or why not. Object keys,
//! conditional writes, retry and the error output's lines are here; what an object contains and
//! when it is complete is left to the stages before.

pub mod key;

pub mod s3;

pub mod directory;

pub mod stdout;

pub mod error_output;

mod limit;

pub use directory::Directory;
pub use error_output::FirehoseErrors;
pub use key::KeyRules;
pub use s3::S3;
pub use stdout::Stdout;
