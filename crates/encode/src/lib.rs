//! Turns records into the bytes of one object: joins them with delimiters and compresses, or
//! converts JSON to Parquet.
//!
//! [`build`] makes a [`hydrant_core::stage::Encode`] of checked settings. All of it is a pure
//! function of the outputs: no time, no random name, no thread order, and no trace of how the
//! outputs were split into pieces is in the bytes. Where objects are put, what they are called and
//! when they end is left to others.

mod settings;

mod records;

mod compress;

mod convert;

mod error;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use convert::fuzzing;

pub use convert::schema::{Fields, Schema, Type};
pub use error::Error;
pub use settings::{Compression, Delimiter, Format, ParquetCompression, ParquetSettings, build};
