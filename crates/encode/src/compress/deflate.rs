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
}

/// Deflates all pieces as one stream, between `head` and what `tail` makes of the deflated size.
pub(crate) fn whole(
    level: u8,
    pieces: Vec<Bytes>,
    head: &[u8],
    tail: impl FnOnce(u64) -> Vec<u8>,
) -> Bytes {
    let plain = join(pieces);
    let mut object = WHOLE.with_borrow_mut(|slot| {
        let fitting = slot.take().filter(|(of, _)| *of == level);
        let (_, compressor) = slot.insert(fitting.unwrap_or_else(|| {
            let checked = CompressionLvl::new(level.into()).expect("the level was checked");
            (level, Compressor::new(checked))
        }));
        deflate(compressor, &plain, head)
    });
    drop(plain);
    let tail = tail((object.len() - head.len()) as u64);
    object.reserve_exact(tail.len());
    object.extend_from_slice(&tail);
    object.shrink_to_fit();
    object.into()
}

fn deflate(compressor: &mut Compressor, plain: &[u8], head: &[u8]) -> Vec<u8> {
    let bound = head.len() + compressor.deflate_compress_bound(plain.len());
    let mut object = vec![0; bound];
    object[..head.len()].copy_from_slice(head);
    let size = compressor
        .deflate_compress(plain, &mut object[head.len()..])
        .expect("the bound is always enough");
    object.truncate(head.len() + size);
    object
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
