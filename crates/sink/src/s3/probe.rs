//! Learns whether the server has conditional writes, by putting one object twice.

use bytes::Bytes;
use hydrant_core::stage::{ObjectMeta, SinkError};
use tracing::debug;

use super::failure::Failure;
use super::{Inner, S3Mode};

/// Folder of the probe objects, below the static part of the prefix.
pub(super) const PROBE_DIR: &str = ".hydrant-probe/";
/// Hex digits of the probe's name.
const NAME_HEX: usize = 16;
/// Times to try. Another worker may remove its probe, which has the same name, between two puts.
const TRIES: u32 = 3;

pub(super) async fn probe(sink: &Inner) -> Result<S3Mode, SinkError> {
    let rules = &sink.rules;
    let name: String = rules.digest().to_hex().chars().take(NAME_HEX).collect();
    let key = format!("{}{PROBE_DIR}{name}", rules.static_prefix());
    let mode = probe_key(sink, &key).await?;
    sink.set_unready(None);
    if let Err(failure) = sink.delete(&key).await {
        debug!(place = %sink.place(&key), error = %failure.into_fault().text, "the probe was not removed");
    }
    Ok(mode)
}

async fn probe_key(sink: &Inner, key: &str) -> Result<S3Mode, SinkError> {
    let body =
        Bytes::from_static(b"hydrant writes this to learn whether writes can be conditional\n");
    let checksum = sink.settings.checksum.of(&body);
    let meta = ObjectMeta {
        key: key.to_owned(),
        content_encoding: None,
        metadata: Vec::new(),
    };
    // What was learned before would leave out the condition.
    sink.set_mode(S3Mode::Unprobed);
    for _ in 0..2 * TRIES {
        match Box::pin(sink.put(&meta, body.clone(), &checksum)).await {
            Ok(()) => {}
            Err(Failure::Exists) => return Ok(S3Mode::Conditional),
            Err(Failure::Unsupported(_)) => return Ok(S3Mode::Overwrite),
            Err(failure) => {
                let fault = failure.into_fault();
                sink.set_unready(Some(&fault));
                return Err(SinkError::Unavailable(fault.text.into()));
            }
        }
    }
    Ok(S3Mode::Overwrite)
}
