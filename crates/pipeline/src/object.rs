//! Builds one object: pieces in, chunks out to the sink, nothing visible yet.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use hydrant_core::BoxFuture;
use hydrant_core::budget::{Account, Permit};
use hydrant_core::offload::{JobLost, Offload, run};
use hydrant_core::stage::{Chunk, Encoder, ObjectUpload, Piece};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::error::LaneError;

/// A piece on its way to the encoder, with what it holds.
pub(crate) struct Feed {
    pub(crate) piece: Piece,
    /// Bytes of the budget; the encoder's own permit takes over.
    pub(crate) permit: Permit,
    /// The micro-batch's place among those in flight, shared by its pieces.
    pub(crate) slot: Arc<OwnedSemaphorePermit>,
}

/// An object whose every byte is with the sink, ready to be made visible.
pub(crate) struct Ready {
    pub(crate) upload: Box<dyn ObjectUpload>,
    pub(crate) bytes: u64,
    /// Held until the object is delivered.
    pub(crate) permit: Permit,
}

pub(crate) struct Builder {
    pub(crate) offload: Arc<dyn Offload>,
    pub(crate) account: Account,
    pub(crate) encoder: Box<dyn Encoder>,
    pub(crate) upload: Box<dyn ObjectUpload>,
}

type Work = BoxFuture<'static, Result<bytes::Bytes, JobLost>>;

/// Feeds what comes through `pieces` to the encoder, until the range seals and drops the sender;
/// chunks go to the upload as they are made, in order.
pub(crate) async fn build(
    builder: Builder,
    mut pieces: mpsc::Receiver<Feed>,
) -> Result<Ready, LaneError> {
    let Builder {
        offload,
        account,
        encoder,
        mut upload,
    } = builder;
    let mut permit = account.take_now(0);
    let mut works: FuturesOrdered<Work> = FuturesOrdered::new();
    let mut encoder = Some(encoder);
    let (mut bytes, mut encoder_held) = (0, 0);
    while encoder.is_some() || !works.is_empty() {
        tokio::select! {
            biased;
            Some(chunk) = works.next(), if !works.is_empty() => {
                let chunk = chunk?;
                bytes += chunk.len() as u64;
                upload.write(chunk).await?;
            }
            feed = pieces.recv(), if encoder.is_some() && works.len() < 2 * offload.width() => {
                let taken = encoder.take().expect("checked by the branch's condition");
                let chunks;
                (encoder, chunks) = encode(&offload, taken, feed).await?;
                works.extend(chunks.into_iter().map(|chunk| start(&offload, chunk)));
            }
        }
        if let Some(encoder) = &encoder {
            encoder_held = encoder.held_bytes();
        } else if works.is_empty() {
            encoder_held = 0;
        }
        // What the encoder held at its end is in the jobs until the last of them is done.
        permit.resize(encoder_held + upload.held_bytes());
    }
    Ok(Ready {
        upload,
        bytes,
        permit,
    })
}

/// One step of the encoder on the pool: a piece, or with none left the end.
async fn encode(
    offload: &Arc<dyn Offload>,
    mut encoder: Box<dyn Encoder>,
    feed: Option<Feed>,
) -> Result<(Option<Box<dyn Encoder>>, Vec<Chunk>), LaneError> {
    let step = move || {
        let mut chunks = Vec::new();
        let Some(Feed {
            piece,
            permit,
            slot,
        }) = feed
        else {
            encoder.finish(&mut chunks)?;
            return Ok((None, chunks));
        };
        encoder.write(piece, &mut chunks)?;
        drop((permit, slot));
        Ok((Some(encoder), chunks))
    };
    run(offload.clone(), step).await?
}

fn start(offload: &Arc<dyn Offload>, chunk: Chunk) -> Work {
    match chunk {
        Chunk::Ready(bytes) => Box::pin(async { Ok(bytes) }),
        Chunk::Work(work) => Box::pin(run(offload.clone(), work)),
    }
}
