//! Zstd (RFC 8878): one frame an object, with its checksum. Up to 1 MiB an object is one job;
//! a larger one is compressed in `write` in steps of 1 MiB, because a frame has one history.

use bytes::Bytes;
use hydrant_core::stage::{Chunk, EncodeError};
use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, compress_bound, get_error_name};

use super::Compressor;
use super::window::{Pending, STEP_BYTES, join};

/// Holds up to a step; keeps a context once there is more.
pub(crate) struct Zstd {
    level: u8,
    pending: Pending,
    context: Option<CCtx<'static>>,
}

impl Zstd {
    pub(crate) fn new(level: u8) -> Self {
        Self {
            level,
            pending: Pending::default(),
            context: None,
        }
    }
}

impl Compressor for Zstd {
    fn write(&mut self, plain: Bytes, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        self.pending.push(plain);
        // Strictly more than a step: an object of just one is a job.
        while self.pending.len() > STEP_BYTES {
            let step = join(self.pending.take(STEP_BYTES));
            let context = self.context.get_or_insert_with(|| context(self.level));
            let out = run(context, &step, ZSTD_EndDirective::ZSTD_e_continue)?;
            if !out.is_empty() {
                chunks.push(Chunk::Ready(out));
            }
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        self.pending.len() + self.context.as_ref().map_or(0, CCtx::sizeof)
    }

    fn finish(mut self: Box<Self>, chunks: &mut Vec<Chunk>) -> Result<(), EncodeError> {
        let level = self.level;
        let rest = self.pending.take(usize::MAX);
        if let Some(mut context) = self.context {
            let out = run(&mut context, &join(rest), ZSTD_EndDirective::ZSTD_e_end)?;
            chunks.push(Chunk::Ready(out));
        } else {
            chunks.push(Chunk::Work(Box::new(move || frame(level, rest))));
        }
        Ok(())
    }
}

fn context(level: u8) -> CCtx<'static> {
    let mut context = CCtx::create();
    for parameter in [
        CParameter::CompressionLevel(level.into()),
        CParameter::ChecksumFlag(true),
    ] {
        context
            .set_parameter(parameter)
            .expect("the level was checked");
    }
    context
}

/// One whole frame, its size in the header.
fn frame(level: u8, pieces: Vec<Bytes>) -> Bytes {
    let plain = join(pieces);
    let mut out = Vec::with_capacity(compress_bound(plain.len()));
    context(level)
        .compress2(&mut out, &plain)
        .expect("the bound is always enough");
    out.shrink_to_fit();
    out.into()
}

/// Feeds a step; gives what came out of the frame by then, all of it at the end.
fn run(
    context: &mut CCtx<'static>,
    step: &[u8],
    directive: ZSTD_EndDirective,
) -> Result<Bytes, EncodeError> {
    let ends = directive == ZSTD_EndDirective::ZSTD_e_end;
    let mut input = InBuffer::around(step);
    let mut out = Vec::with_capacity(compress_bound(step.len()) / 2);
    loop {
        out.reserve(CCtx::out_size());
        let at = out.len();
        let mut output = OutBuffer::around_pos(&mut out, at);
        let left = context
            .compress_stream2(&mut output, &mut input, directive)
            .map_err(|code| EncodeError(format!("zstd: {}", get_error_name(code))))?;
        let done = if ends {
            left == 0
        } else {
            input.pos() == step.len()
        };
        if done {
            out.shrink_to_fit();
            return Ok(out.into());
        }
    }
}
