//! An embedded stream in a folder of its own, with the real disk under it, all on this thread.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hydrant_core::clock::Clock as _;
use hydrant_core::rng::Rng as _;
use hydrant_log::disk::{ProcessAbort, RealDisk};
use hydrant_log::stream::{Batch, Stream, StreamError, StreamOptions, Streams};
use hydrant_log::{Env, LogOptions, StateLog};

use super::turns::Turns;
use crate::bench::load::Load;
use crate::runtime::{RealClock, RealRng};

/// The stream's name.
pub(super) const STREAM: &str = "s";
/// Shards of the stream, as in the whole ways.
const SHARDS: u32 = 2;
/// Calls that one sync serves: connections of a busy producer.
const CALLS_A_SYNC: usize = 8;

pub(super) struct Home {
    pub(super) turns: Arc<Turns>,
    pub(super) clock: Arc<RealClock>,
    pub(super) streams: Arc<Streams>,
    pub(super) stream: Arc<Stream>,
}

impl Home {
    pub(super) fn open(dir: &Path) -> anyhow::Result<Self> {
        let (turns, clock, rng) = (
            Turns::new(),
            Arc::<RealClock>::default(),
            RealRng::default(),
        );
        let env = Env {
            disk: Arc::new(RealDisk),
            io: turns.clone(),
            clock: clock.clone(),
            abort: Arc::new(ProcessAbort),
        };
        let mut id = [0; 16];
        id[..8].copy_from_slice(&rng.next().to_le_bytes());
        let options = LogOptions {
            instance: id,
            ..LogOptions::default()
        };
        let state = StateLog::open(env.clone(), &dir.join("state"), id, options.clone())?;
        let (dir, rng) = (dir.join("streams"), Arc::new(rng));
        let streams = turns.finish(Streams::open(env, &dir, Arc::new(state), rng, options))??;
        // What no reader holds back is freed at once, so that segments are used again.
        let options = StreamOptions {
            shards: SHARDS,
            retention: Duration::ZERO,
            ..StreamOptions::default()
        };
        let stream = turns.finish(streams.create(STREAM, options))??;
        Ok(Self {
            turns,
            clock,
            streams: Arc::new(streams),
            stream,
        })
    }

    pub(super) fn batches(&self, load: &Load) -> anyhow::Result<Vec<Batch>> {
        let batches: Result<Vec<Batch>, StreamError> = load
            .calls()
            .map(|call| self.stream.prepare(&call))
            .collect();
        Ok(batches?)
    }

    pub(super) fn append(&self, batches: Vec<Batch>) -> anyhow::Result<()> {
        let mut batches = batches.into_iter().peekable();
        while batches.peek().is_some() {
            let calls = batches.by_ref().take(CALLS_A_SYNC);
            let calls = join_all(calls.map(|batch| self.stream.append(batch)));
            for placed in self.turns.finish(calls)? {
                placed?;
            }
        }
        Ok(())
    }

    pub(super) fn free(&self) -> anyhow::Result<()> {
        self.turns
            .finish(self.stream.retain(self.clock.wall_ms()))??;
        Ok(())
    }
}
