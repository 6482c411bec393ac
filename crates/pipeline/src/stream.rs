//! Runs one delivery stream: finds its lanes, works on each, and takes a lane up again after an
//! error. Lanes share nothing here but the source and the status.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hydrant_core::backoff::{Backoff, CAP};
use hydrant_core::budget::Budget;
use hydrant_core::clock::Clock;
use hydrant_core::offload::Offload;
use hydrant_core::rng::Rng;
use hydrant_core::stage::{LaneInfo, Source, SourceError};
use hydrant_core::state::StateStore;
use hydrant_core::{Action, BoxFuture, Lane, LaneKey, planted};
use tokio::sync::watch;

use crate::engine::pending;
use crate::error::LaneError;
use crate::lane::{Hooks, LaneContext, LaneEnd, run_lane};
use crate::plan::Versions;
use crate::status::Status;

/// How often the source is asked for lanes that are new.
const LANES_EVERY: Duration = Duration::from_secs(10);

/// What a delivery stream is made of.
pub struct Setting {
    /// Its name.
    pub name: Arc<str>,
    /// Where records come from.
    pub source: Arc<dyn Source>,
    /// Where positions and intents live.
    pub state: Arc<dyn StateStore>,
    /// What ranges are rendered with.
    pub versions: Arc<dyn Versions>,
    /// The CPU pool.
    pub offload: Arc<dyn Offload>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Jitter.
    pub rng: Arc<dyn Rng>,
    /// The process's memory.
    pub budget: Budget,
    /// Longest time that a range stays open.
    pub interval: Duration,
    /// Bytes that one read asks for.
    pub read_bytes: usize,
    /// Where it says what it does; outlives it, so that sums go on.
    pub status: Arc<Status>,
    /// Moments that tests stop at.
    pub hooks: Arc<dyn Hooks>,
}

/// A delivery stream that can be run.
pub struct DeliveryStream {
    setting: Setting,
}

/// How a lane was left.
enum Left {
    Ended,
    Stopped,
    Fenced,
}

type Running<'a> = BoxFuture<'a, (Lane, Left)>;

impl DeliveryStream {
    /// Puts a delivery stream together; nothing runs yet.
    pub fn new(setting: Setting) -> Self {
        Self { setting }
    }

    /// Works on all lanes until `stop` turns true; then what was read is delivered, and it returns.
    /// Dropping the future is safe at any time.
    pub async fn run(&self, stop: watch::Receiver<bool>) {
        let (mut running, mut lanes) = (FuturesUnordered::new(), BTreeMap::new());
        let mut stopping = stop.clone();
        let mut refresh: BoxFuture<'static, ()> = Box::pin(async {});
        // Asked beside the lanes, which may hold what the source needs to answer.
        let mut finding: Option<BoxFuture<'_, Result<Vec<LaneInfo>, SourceError>>> = None;
        loop {
            let stopped = *stop.borrow();
            if stopped && running.is_empty() {
                return;
            }
            if stopped {
                // It is not asked any more, and must not hold what the lanes need to end.
                finding = None;
            }
            tokio::select! {
                biased;
                Some((lane, left)) = running.next(), if !running.is_empty() => {
                    match left {
                        // Its children may start now.
                        Left::Ended => {
                            lanes.insert(lane, true);
                            refresh = Box::pin(async {});
                        }
                        // Another worker has it; it may come back.
                        Left::Fenced => { lanes.remove(&lane); }
                        Left::Stopped => {}
                    }
                }
                // An error means that whoever could say stop is gone.
                () = told_to_stop(&mut stopping), if !stopped => {}
                found = pending(&mut finding), if !stopped => {
                    match found {
                        Ok(found) => self.start_lanes(found, &mut lanes, &mut running, &stop),
                        Err(error) => self.failed("", &error.into()),
                    }
                    refresh = self.setting.clock.sleep(LANES_EVERY);
                }
                () = &mut refresh, if !stopped && finding.is_none() => {
                    finding = Some(self.setting.source.lanes());
                }
            }
        }
    }

    /// Starts lanes that are new and whose parents have all ended. `lanes` maps those that were
    /// started to whether they have ended.
    fn start_lanes<'a>(
        &'a self,
        found: Vec<LaneInfo>,
        lanes: &mut BTreeMap<Lane, bool>,
        running: &mut FuturesUnordered<Running<'a>>,
        stop: &watch::Receiver<bool>,
    ) {
        let names: Vec<Lane> = found.iter().map(|info| info.lane.clone()).collect();
        for info in found {
            // A parent that the source no longer has is gone with all its records.
            let waits = info
                .parents
                .iter()
                .any(|parent| names.contains(parent) && lanes.get(parent).copied() != Some(true));
            let waits = waits && !planted!("child-before-parent");
            if waits || lanes.contains_key(&info.lane) {
                continue;
            }
            lanes.insert(info.lane.clone(), false);
            running.push(Box::pin(self.supervise(info.lane, stop.clone())));
        }
    }

    /// Works on a lane, again after each error, until it is done with.
    async fn supervise(&self, lane: Lane, mut stop: watch::Receiver<bool>) -> (Lane, Left) {
        let context = self.lane_context(lane.clone());
        let mut backoff = Backoff::default();
        loop {
            let successes = self.setting.status.snapshot().successes;
            let plan = self.setting.versions.current();
            let error = match run_lane(&context, &mut stop).await {
                Ok(LaneEnd::Ended) => return (lane, Left::Ended),
                Ok(LaneEnd::Stopped) => return (lane, Left::Stopped),
                Err(error) if error.is_fenced() => return (lane, Left::Fenced),
                Err(error) => error,
            };
            self.failed(lane.as_str(), &error);
            if self.setting.status.snapshot().successes > successes {
                backoff.reset();
            }
            let pause = match error.action() {
                Action::Retry { after } => backoff.next(&*self.setting.rng, after),
                // Only a person can help, and then it goes on by itself.
                Action::Stop | Action::Reject => CAP,
            };
            tokio::select! {
                biased;
                () = told_to_stop(&mut stop) => return (lane, Left::Stopped),
                // Perhaps it is what helps.
                () = self.setting.versions.replaced(&plan) => backoff.reset(),
                () = self.setting.clock.sleep(pause) => {}
            }
        }
    }

    fn lane_context(&self, lane: Lane) -> LaneContext {
        let setting = &self.setting;
        LaneContext {
            key: Arc::new(LaneKey {
                delivery_stream: setting.name.clone(),
                source: setting.source.identity().into(),
                lane,
            }),
            source: setting.source.clone(),
            state: setting.state.clone(),
            versions: setting.versions.clone(),
            offload: setting.offload.clone(),
            clock: setting.clock.clone(),
            account: setting.budget.account(&setting.name),
            status: setting.status.clone(),
            interval: setting.interval,
            read_bytes: setting.read_bytes,
            hooks: setting.hooks.clone(),
        }
    }

    fn failed(&self, lane: &str, error: &LaneError) {
        let text = with_causes(error);
        let stream = &*self.setting.name;
        match error.action() {
            Action::Retry { .. } => {
                tracing::warn!(delivery_stream = stream, lane, error = %text, "lane will try again");
            }
            Action::Stop | Action::Reject => {
                tracing::error!(delivery_stream = stream, lane, error = %text, "lane waits for help");
            }
        }
        self.setting.status.lane_failed(text);
    }
}

/// Completes once `stop` is true, or whoever could say so is gone.
pub async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// An error's text and its causes, on one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
