//! Raw deflate (RFC 1951), shared by gzip and zip: an object whole, or in chunks that a full flush
//! ends, so that they can be made on any core and joined to one stream.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use flate2::{Compress, FlushCompress, Status};
use libdeflater::{CompressionLvl, Compressor};

use super::window::join;

/// Up to so many plain bytes an object is held and compressed at its end as one job: libdeflate is
/// faster and denser than any stream compressor, but takes the whole only.
pub(crate) const HOLD_BYTES: usize = 16 << 20;

/// Highest level of zlib; libdeflate knows 12.
const MAX_STREAM_LEVEL: u8 = 9;

/// Bytes of buffers that all threads together keep from object to object: enough for two cores at
/// objects of 5 MiB, and little beside any budget, however many cores there are.
const KEPT_MAX_BYTES: usize = 24 << 20;

/// How many they keep now.
static KEPT_BYTES: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// One compressor per thread of the pool: its tables are about 1 MiB.
    static WHOLE: RefCell<Option<(u8, Compressor)>> = const { RefCell::new(None) };
    /// Kept from object to object: fresh pages cost a tenth of compressing them.
    static BUFFERS: RefCell<Buffers> = const { RefCell::new(Buffers::NONE) };
}

/// What is compressed as one piece, and what it becomes.
struct Buffers {
    plain: Vec<u8>,
    deflated: Vec<u8>,
    /// What of [`KEPT_BYTES`] is theirs.
    kept: usize,
}

impl Buffers {
    const NONE: Self = Self {
        plain: Vec::new(),
        deflated: Vec::new(),
        kept: 0,
    };

    /// Keeps them for the next object, as far as all threads together may.
    fn keep(&mut self) {
        let wanted = self.plain.capacity() + self.deflated.capacity();
        let before = self.kept;
        let order = Ordering::Relaxed;
        let fits = KEPT_BYTES.fetch_update(order, order, |all| {
            let all = all - before + wanted;
            (all <= KEPT_MAX_BYTES).then_some(all)
        });
        if fits.is_ok() {
            self.kept = wanted;
        } else {
            *self = Self::NONE;
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        KEPT_BYTES.fetch_sub(self.kept, Ordering::Relaxed);
    }
}

/// Deflates all pieces as one stream, between `head` and what `tail` makes of the deflated size.
pub(crate) fn whole(
    level: u8,
    pieces: Vec<Bytes>,
    head: &[u8],
    tail: impl FnOnce(u64) -> Vec<u8>,
) -> Bytes {
    BUFFERS.with_borrow_mut(|buffers| {
        let object = with_buffers(level, pieces, head, tail, buffers);
        buffers.keep();
        object
    })
}

fn with_buffers(
    level: u8,
    mut pieces: Vec<Bytes>,
    head: &[u8],
    tail: impl FnOnce(u64) -> Vec<u8>,
    buffers: &mut Buffers,
) -> Bytes {
    let Buffers {
        plain, deflated, ..
    } = buffers;
    plain.clear();
    // One that is whole already is not copied.
    let single = if pieces.len() == 1 {
        pieces.pop()
    } else {
        plain.reserve_exact(pieces.iter().map(Bytes::len).sum());
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
}

fn deflate<'b>(compressor: &mut Compressor, plain: &[u8], out: &'b mut Vec<u8>) -> &'b [u8] {
    let bound = compressor.deflate_compress_bound(plain.len());
    if out.len() < bound {
        out.reserve_exact(bound - out.len());
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
