//! Works on one lane from its stored state on: start position, redo of a found intent, then ranges
//! until the lane ends, is taken away, or the service stops.

use std::sync::Arc;
use std::time::Duration;

use hydrant_core::budget::Account;
use hydrant_core::clock::Clock;
use hydrant_core::offload::Offload;
use hydrant_core::stage::Source;
use hydrant_core::state::{LaneState, LaneStore, StateStore};
use hydrant_core::{LaneKey, planted};
use tokio::sync::watch;

pub use crate::deliver::{Hooks, NoHooks};
use crate::engine::{self, Ended, Mode};
use crate::error::LaneError;
use crate::intent::Intent;
use crate::plan::Versions;
use crate::status::Status;

/// Everything that works on a lane needs.
#[derive(Clone)]
pub struct LaneContext {
    /// The lane.
    pub key: Arc<LaneKey>,
    /// Where its records come from.
    pub source: Arc<dyn Source>,
    /// Where its position and intent live.
    pub state: Arc<dyn StateStore>,
    /// What its ranges are rendered with.
    pub versions: Arc<dyn Versions>,
    /// The CPU pool.
    pub offload: Arc<dyn Offload>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Its part in the memory budget.
    pub account: Account,
    /// Where it says what it does.
    pub status: Arc<Status>,
    /// Longest time that a range stays open.
    pub interval: Duration,
    /// Bytes that one read asks for.
    pub read_bytes: usize,
    /// Moments that tests stop at.
    pub hooks: Arc<dyn Hooks>,
}

/// How the work on a lane ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneEnd {
    /// All of it is delivered; nothing will follow.
    Ended,
    /// The service stops; everything that was read is delivered.
    Stopped,
}

/// Works on a lane until it ends or `stop` turns true.
///
/// Cancel safe: what was not committed is delivered by whoever takes the lane next.
///
/// # Errors
/// [`LaneError`]; nothing is lost, and the lane may be run again.
pub async fn run_lane(
    context: &LaneContext,
    stop: &mut watch::Receiver<bool>,
) -> Result<LaneEnd, LaneError> {
    let mut store = context.state.open((*context.key).clone()).await?;
    let mut state = starting_state(context, &mut *store).await?;
    // The source may forget what is told to it, so it is told again.
    context.source.committed(&context.key.lane, state.position);
    if state.ended {
        return Ok(LaneEnd::Ended);
    }
    if let Some(bytes) = state.intent.take()
        && !context.hooks.recut()
        && !planted!("found-intent-ignored")
    {
        let intent = Intent::decode(&bytes)?;
        let current = context.versions.current();
        let plan = if current.version == intent.version || planted!("redo-with-new-version") {
            current
        } else {
            let version = intent.version;
            let loaded = context.versions.load(version).await;
            loaded.map_err(|reason| LaneError::Version {
                version: version.to_hex(),
                reason,
            })?
        };
        tracing::info!(
            delivery_stream = %context.key.delivery_stream, lane = %context.key.lane,
            version = %intent.version, "an open intent was found, its range is delivered first"
        );
        state.position = intent.cut;
        let mut context = context.clone();
        if let Some(source) = context.source.in_mode(plan.read_mode) {
            context.source = source;
        }
        store = engine::run(&context, Mode::Redo { plan, intent }, store, stop)
            .await?
            .1;
    }
    let (ended, mut store) = loop {
        let mode = Mode::Open {
            plan: context.versions.current(),
        };
        let (ended, given_back) = engine::run(context, mode, store, stop).await?;
        if ended != Ended::Replaced {
            break (ended, given_back);
        }
        store = given_back;
    };
    if ended == Ended::LaneEnd {
        let current = store.current().cloned().unwrap_or(state);
        store
            .store(LaneState {
                ended: true,
                intent: None,
                ..current
            })
            .await?;
        return Ok(LaneEnd::Ended);
    }
    Ok(LaneEnd::Stopped)
}

/// The stored state; for a new lane the start position, resolved and stored before the first read.
async fn starting_state(
    context: &LaneContext,
    store: &mut dyn LaneStore,
) -> Result<LaneState, LaneError> {
    let again = |state: &LaneState| state.intent.is_none() && planted!("start-resolved-again");
    if let Some(state) = store.current().filter(|state| !again(state)) {
        return Ok(state.clone());
    }
    let position = context.source.start(&context.key.lane).await?;
    let state = LaneState::starting_after(position);
    store.store(state.clone()).await?;
    Ok(state)
}
