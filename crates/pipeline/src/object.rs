//! Builds one object: pieces in, chunks out to the sink, nothing visible yet.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use hydrant_core::budget::{Account, Permit};
use hydrant_core::offload::{JobLost, Offload, run};
use hydrant_core::stage::{Chunk, Encode, Encoder, ObjectUpload, Piece};
use hydrant_core::{BoxFuture, Digest};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::error::LaneError;
use crate::gathered::Gathered;

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
    pub(crate) encode: Arc<dyn Encode>,
    pub(crate) id: Digest,
    pub(crate) upload: Box<dyn ObjectUpload>,
}

/// Bytes of memory of a piece besides its content: boxes, permit, place in a list.
pub(crate) const PIECE_BYTES: usize = 128;
/// Bytes of memory of an object besides its content: its task, its queue, its key and metadata.
const OBJECT_BYTES: usize = 4 << 10;

type Work = BoxFuture<'static, Result<bytes::Bytes, JobLost>>;

/// What an object's bytes are in before they are chunks.
enum Stage {
    /// Too little for an encoder.
    Plain(Gathered),
    Encoding(Box<dyn Encoder>),
}

/// Feeds what comes through `pieces` to the encoder, until the range seals and drops the sender;
/// chunks go to the upload as they are made, in order.
pub(crate) async fn build(
    builder: Builder,
    mut pieces: mpsc::Receiver<Feed>,
) -> Result<Ready, LaneError> {
    let Builder {
        offload,
        account,
        encode,
        id,
        mut upload,
    } = builder;
    let mut permit = account.take_now(OBJECT_BYTES);
    let mut works: FuturesOrdered<Work> = FuturesOrdered::new();
    let mut stage = Some(Stage::Plain(Gathered::new(account.take_now(0))));
    let (mut bytes, mut encoder_held) = (0, 0);
    while stage.is_some() || !works.is_empty() {
        tokio::select! {
            biased;
            Some(chunk) = works.next(), if !works.is_empty() => {
                let chunk = chunk?;
                bytes += chunk.len() as u64;
                upload.write(chunk).await?;
            }
            feed = pieces.recv(), if stage.is_some() && works.len() < 2 * offload.width() => {
                let taken = stage.take().expect("checked by the branch's condition");
                let chunks;
                (stage, chunks) = advance(&offload, &encode, id, taken, feed).await?;
                works.extend(chunks.into_iter().map(|chunk| start(&offload, chunk)));
            }
        }
        match &stage {
            Some(Stage::Encoding(encoder)) => encoder_held = encoder.held_bytes(),
            // They have a permit of their own.
            None if works.is_empty() => encoder_held = 0,
            Some(Stage::Plain(_)) | None => {}
        }
        // What the encoder held at its end is in the jobs until the last of them is done.
        permit.resize(OBJECT_BYTES + encoder_held + upload.held_bytes());
    }
    Ok(Ready {
        upload,
        bytes,
        permit,
    })
}

/// One step: a piece, or with none left the end. All but the adding of a small piece to others is
/// done on the pool.
async fn advance(
    offload: &Arc<dyn Offload>,
    encode: &Arc<dyn Encode>,
    id: Digest,
    stage: Stage,
    feed: Option<Feed>,
) -> Result<(Option<Stage>, Vec<Chunk>), LaneError> {
    let (mut gathered, feed) = match (stage, feed) {
        (Stage::Encoding(encoder), Some(feed)) => {
            let Feed {
                piece,
                permit,
                slot,
            } = feed;
            let held = (permit, slot);
            let (encoder, chunks) = run(offload.clone(), move || {
                let written = write(encoder, vec![piece], false);
                drop(held);
                written
            })
            .await??;
            return Ok((encoder.map(Stage::Encoding), chunks));
        }
        (Stage::Encoding(encoder), None) => {
            let (_, chunks) =
                run(offload.clone(), move || write(encoder, Vec::new(), true)).await??;
            return Ok((None, chunks));
        }
        (Stage::Plain(gathered), feed) => (gathered, feed),
    };
    let ends = feed.is_none();
    if let Some(feed) = feed {
        // Its place among those in flight is free: it may wait for the seal.
        gathered.push(feed.piece);
        if !gathered.is_enough() {
            if gathered.may_join() {
                let encode = encode.clone();
                gathered = run(offload.clone(), move || gathered.join(&encode)).await??;
            }
            return Ok((Some(Stage::Plain(gathered)), Vec::new()));
        }
    }
    let encode = encode.clone();
    let (encoder, chunks) = run(offload.clone(), move || {
        let (pieces, permit) = gathered.take();
        let written = write(encode.encoder(&id), pieces, ends);
        drop(permit);
        written
    })
    .await??;
    Ok((encoder.map(Stage::Encoding), chunks))
}

type Written = (Option<Box<dyn Encoder>>, Vec<Chunk>);

/// Hands pieces to the encoder; ends it where they are the last.
fn write(
    mut encoder: Box<dyn Encoder>,
    pieces: Vec<Piece>,
    ends: bool,
) -> Result<Written, LaneError> {
    let mut chunks = Vec::new();
    for piece in pieces {
        encoder.write(piece, &mut chunks)?;
    }
    if !ends {
        return Ok((Some(encoder), chunks));
    }
    encoder.finish(&mut chunks)?;
    Ok((None, chunks))
}

fn start(offload: &Arc<dyn Offload>, chunk: Chunk) -> Work {
    match chunk {
        Chunk::Ready(bytes) => Box::pin(async { Ok(bytes) }),
        Chunk::Work(work) => Box::pin(run(offload.clone(), work)),
    }
}
