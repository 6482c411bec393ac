//! Speaks the Kinesis wire protocol and turns its shapes into ours: embedded streams that AWS SDKs
//! can use.
//!
//! JSON 1.1 and CBOR 1.1 over HTTP/1.1 and h2c on one port. Storage is left to `hydrant_log::stream`.

pub mod settings;

pub mod server;

mod protocol;

mod kinesis;

mod measure;

pub mod error;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

pub use error::Error;
pub use measure::PutDecoder;
pub use server::{Listen, Server, bind, serve};
pub use settings::{ACCOUNT_ID, Auth, MAX_CONNECTIONS, Settings};
