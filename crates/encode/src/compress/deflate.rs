//! Raw deflate (RFC 1951), shared by gzip and zip: an object whole, or in chunks that a full flush
//! ends, so that they can be made on any core and joined to one stream.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, FlushCompress, Status};
use libdeflater::{CompressionLvl, Compressor};

use super::window::join;

/// Up to so many plain bytes an object is held and compressed at its end as one job: libdeflate is
/// faster and denser than any stream compressor, but takes the whole only.
pub(crate) const HOLD_BYTES: usize = 16 << 20;

/// Highest level of zlib; libdeflate knows 12.
const MAX_STREAM_LEVEL: u8 = 9;

thread_local! {
    /// One compressor per thread of the pool: its tables are about 1 MiB.
    static WHOLE: RefCell<Option<(u8, Compressor)>> = const { RefCell::new(None) };
    /// What is compressed as one piece, and what it becomes: kept from object to object, since fresh
    /// pages cost a tenth of compressing them. At most [`HOLD_BYTES`] and a little, each.
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// Deflates all pieces as one stream, between `head` and what `tail` makes of the deflated size.
pub(crate) fn whole(
    level: u8,
    pieces: Vec<Bytes>,
    head: &[u8],
    tail: impl FnOnce(u64) -> Vec<u8>,
) -> Bytes {
    BUFFERS.with_borrow_mut(|(plain, deflated)| {
        plain.clear();
        let mut pieces = pieces;
        // One that is whole already is not copied.
        let single = if pieces.len() == 1 {
            pieces.pop()
        } else {
            None
        };
        for piece in pieces {
            plain.extend_from_slice(&piece);
        }
        let plain = single.as_deref().unwrap_or(plain);
        let deflated = WHOLE.with_borrow_mut(|slot| {
            let fitting = slot.take().filter(|(of, _)| *of == level);
            let (_, compressor) = slot.insert(fitting.unwrap_or_else(|| {
                let checked = CompressionLvl::new(level.into()).expect("the level was checked");
                (level, Compressor::new(checked))
            }));
            deflate(compressor, plain, deflated)
        });
        let tail = tail(deflated.len() as u64);
        let mut object = Vec::with_capacity(head.len() + deflated.len() + tail.len());
        for part in [head, deflated, &tail] {
            object.extend_from_slice(part);
        }
        object.into()
    })
}

fn deflate<'b>(compressor: &mut Compressor, plain: &[u8], out: &'b mut Vec<u8>) -> &'b [u8] {
    let bound = compressor.deflate_compress_bound(plain.len());
    if out.len() < bound {
        out.resize(bound, 0);
    }
    let size = compressor
        .deflate_compress(plain, out)
        .expect("the bound is always enough");
    &out[..size]
}

/// Deflates one chunk of a stream. Every chunk but the last ends with a full flush: it depends on
/// none before it. The last may be empty.
pub(crate) fn chunk(level: u8, pieces: Vec<Bytes>, last: bool) -> Bytes {
    let plain = join(pieces);
    let flush = if last {
        FlushCompress::Finish
    } else {
        FlushCompress::Full
    };
    let level = flate2::Compression::new(level.min(MAX_STREAM_LEVEL).into());
    let mut stream = Compress::new(level, false);
    let mut out = Vec::with_capacity(plain.len() / 2 + 64);
    loop {
        let read = usize::try_from(stream.total_in()).expect("a chunk fits memory");
        let status = stream
            .compress_vec(&plain[read..], &mut out, flush)
            .expect("a fresh deflate stream takes all input");
        let flushed = out.len() < out.capacity() && stream.total_in() == plain.len() as u64;
        if status == Status::StreamEnd || (!last && flushed) {
            out.shrink_to_fit();
            return out.into();
        }
        out.reserve(plain.len() / 2 + 64);
    }
}
