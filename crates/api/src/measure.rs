//! A part of the way of a put on its own, for those who measure it.

use std::sync::Arc;

use hydrant_core::budget::Account;
use hydrant_core::clock::Clock;
use hydrant_log::stream::{Batch, Streams};

use crate::kinesis::Kinesis;
use crate::protocol::Wire;

/// Decodes bodies of `PutRecords` calls in JSON as the server does.
pub struct PutDecoder(Kinesis);

impl PutDecoder {
    /// Decodes for these streams.
    pub fn new(streams: Arc<Streams>, account: Account, clock: Arc<dyn Clock>) -> Self {
        Self(Kinesis::new(streams, account, clock, String::new()))
    }

    /// The records of a body, ready to be appended. Holds the CPU for about 1 ms per MiB.
    ///
    /// # Errors
    /// With what the caller would be told.
    pub fn decode(&self, body: &[u8]) -> Result<Batch, String> {
        match self.0.prepare_many(Wire::Json, body) {
            Ok((_, batch)) => Ok(batch),
            Err(fault) => Err(fault.message),
        }
    }
}
