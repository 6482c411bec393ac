//! The loop: what is ready is done, in this order and never another.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use hydrant_core::budget::Permit;
use hydrant_core::offload::run as offload_run;
use hydrant_core::stage::{Blocked, Read, SourceError};
use hydrant_core::state::LaneStore;
use hydrant_core::{BoxFuture, Position, planted};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::room::STUCK_AFTER;
use crate::batch::{Batch, Batcher};
use crate::deliver::Delivered;
use crate::error::LaneError;
use crate::hints::{Hints, SealReason};
use crate::intent::{Intent, StageCall};
use crate::lane::LaneContext;
use crate::loss::Loss;
use crate::object::Ready;
use crate::plan::Plan;
use crate::range::{Building, OpenRange, RangeContext, SealedRange};
use crate::render::{Rendered, render};
use crate::stream::told_to_stop;

/// What the engine is to do.
pub(crate) enum Mode {
    /// Ranges as they come.
    Open { plan: Arc<Plan> },
    /// Exactly the range of this intent, under the version it names.
    Redo { plan: Arc<Plan>, intent: Intent },
}

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Everything of the lane is delivered and nothing follows.
    LaneEnd,
    /// It was told to stop, and everything read is delivered.
    Stopped,
    /// Another version is in force, and everything read under this one is delivered.
    Replaced,
    /// A processor says nothing of what follows, and everything before that is delivered.
    Blocked,
    /// The range of the intent is delivered.
    Redone,
}

/// What comes out of rendering, in order.
pub(super) enum Item {
    Rendered {
        rendered: Box<Rendered>,
        cuttable: bool,
        /// What it holds until the range takes over.
        held: Permit,
        slot: Arc<OwnedSemaphorePermit>,
    },
    /// The open range ends here.
    Seal(SealReason),
}

type Rendering = BoxFuture<'static, Result<Item, LaneError>>;
/// Number of the range, index of the object in it, and the object.
type Built = BoxFuture<'static, (u64, usize, Result<Ready, LaneError>)>;
type Delivering = BoxFuture<'static, Result<Delivered, LaneError>>;

pub(super) struct Engine<'a> {
    pub(super) context: &'a LaneContext,
    pub(super) ranges: RangeContext,
    pub(super) hints: Hints,
    pub(super) redo: Option<Intent>,
    /// Why a processor says nothing of what follows.
    pub(super) blocked: Option<Blocked>,

    // Reading.
    pub(super) read_after: Position,
    pub(super) reading: Option<BoxFuture<'a, Result<Read, SourceError>>>,
    /// Nothing more is to be read: the lane ended, the cut of a redo is read, or it stops.
    pub(super) read_ended: Option<Ended>,
    pub(super) batcher: Batcher,
    /// What the source has lost, for the next range that seals to report.
    pub(super) losses: Vec<Loss>,
    /// Records of a redo are lost: its micro-batches are others than were recorded, so that what
    /// was recorded of its calls says nothing.
    pub(super) maimed: bool,

    // Rendering.
    pub(super) slots: Arc<Semaphore>,
    pub(super) rendering: FuturesOrdered<Rendering>,
    /// Micro-batches handed over since the range began: only a redo needs it.
    pub(super) dispatched: u32,
    /// What is gathered must be handed over, and the range sealed after it.
    pub(super) flush: Option<SealReason>,
    /// Seals that were handed over and are not gathered yet.
    pub(super) seals_queued: u32,
    /// When the interval of the open range is over.
    pub(super) timer: Option<BoxFuture<'static, ()>>,

    // Gathering and delivering.
    pub(super) next_range: u64,
    pub(super) open: Option<OpenRange>,
    pub(super) sealed: VecDeque<SealedRange>,
    pub(super) objects: FuturesUnordered<Built>,
    pub(super) delivering: Option<Delivering>,
    pub(super) store: Option<Box<dyn LaneStore>>,
    pub(super) committed: Position,

    /// Records read and not yet committed, and how many of them are not yet in a range.
    pub(super) in_flight: u64,
    pub(super) ungathered: u64,
    /// What is in delivery: its cut, its number of records, its oldest arrival.
    pub(super) in_delivery: Option<(Position, u64, u64)>,

    // Making room for others.
    /// Running while something waits for the destination.
    pub(super) patience: Option<BoxFuture<'static, ()>>,
    /// How long it is patient; longer after each time that nothing came of it.
    pub(super) patient_for: Duration,
    pub(super) stuck: bool,
    /// It has dropped what it rendered ahead: nothing is read until something is delivered, or
    /// until this is over.
    pub(super) held_off: Option<BoxFuture<'static, ()>>,
}

/// Runs a lane in the given mode. Gives the store back.
pub(crate) async fn run(
    context: &LaneContext,
    mode: Mode,
    store: Box<dyn LaneStore>,
    stop: &mut watch::Receiver<bool>,
) -> Result<(Ended, Box<dyn LaneStore>), LaneError> {
    let lane = context.key.lane.as_str();
    context.status.lane_started(lane);
    context
        .account
        .set_must_finish(matches!(mode, Mode::Redo { .. }));
    let mut engine = Engine::new(context, mode, store)?;
    let ended = engine.run(stop).await;
    context.account.set_must_finish(false);
    // One that waits to be run again can give nothing back.
    context.account.set_able(0, 0);
    context.status.lane_stopped(lane);
    let store = engine.store.take();
    match (ended?, store) {
        (ended, Some(store)) => Ok((ended, store)),
        (_, None) => Err(LaneError::Invariant(
            "a delivery kept the lane's store".into(),
        )),
    }
}

impl<'a> Engine<'a> {
    fn new(
        context: &'a LaneContext,
        mode: Mode,
        store: Box<dyn LaneStore>,
    ) -> Result<Self, LaneError> {
        let Some(state) = store.current() else {
            return Err(LaneError::Invariant(
                "a lane is run without a start position".into(),
            ));
        };
        let (plan, redo) = match mode {
            Mode::Open { plan } => (plan, None),
            Mode::Redo { plan, intent } => (plan, Some(intent)),
        };
        // One being rendered per core, one waiting for it, and one that the encoder works on.
        let slots = 2 * context.offload.width() + 1;
        let committed = state.position;
        let generation = redo
            .as_ref()
            .map_or(state.generation, |intent| intent.generation);
        Ok(Self {
            context,
            hints: Hints {
                size_bytes: plan.size_hint_bytes,
                interval: context.interval,
            },
            batcher: Batcher::new(plan.micro_batch),
            losses: Vec::new(),
            maimed: false,
            ranges: RangeContext {
                key: context.key.clone(),
                plan,
                offload: context.offload.clone(),
                account: context.account.clone(),
                generation,
                slots,
            },
            redo,
            blocked: None,
            read_after: committed,
            reading: None,
            read_ended: None,
            slots: Arc::new(Semaphore::new(slots)),
            rendering: FuturesOrdered::new(),
            dispatched: 0,
            flush: None,
            seals_queued: 0,
            timer: None,
            next_range: 0,
            open: None,
            sealed: VecDeque::new(),
            objects: FuturesUnordered::new(),
            delivering: None,
            store: Some(store),
            committed,
            in_flight: 0,
            ungathered: 0,
            in_delivery: None,
            patience: None,
            patient_for: STUCK_AFTER,
            stuck: false,
            held_off: None,
        })
    }

    async fn run(&mut self, stop: &mut watch::Receiver<bool>) -> Result<Ended, LaneError> {
        let versions = self.context.versions.clone();
        let mut replaced = versions.replaced(&self.ranges.plan);
        loop {
            self.dispatch();
            self.start_read();
            self.start_delivery();
            self.watch_progress();
            self.show();
            if let Some(ended) = self.finished() {
                return match self.blocked.take() {
                    Some(blocked) => Err(blocked.into()),
                    None => Ok(ended),
                };
            }
            let may_gather = self.may_gather();
            let may_stop = self.redo.is_none() && self.read_ended.is_none();
            tokio::select! {
                biased;
                () = told_to_stop(stop), if may_stop => self.stop_reading(Ended::Stopped),
                () = &mut replaced, if may_stop => self.stop_reading(Ended::Replaced),
                delivered = pending(&mut self.delivering) => {
                    self.moves_on();
                    self.delivered(delivered?);
                }
                Some((range, index, ready)) = self.objects.next(), if !self.objects.is_empty() => {
                    self.moves_on();
                    self.built(range, index, ready?);
                }
                Some(item) = self.rendering.next(), if may_gather && !self.rendering.is_empty() => {
                    self.moves_on();
                    match item {
                        Err(LaneError::Blocked(why)) if self.may_end_here() => self.end_before(why),
                        item => self.gather(item?)?,
                    }
                }
                slot = self.slots.clone().acquire_owned(), if self.wants_slot() => {
                    self.dispatch_one(slot.expect("the semaphore is never closed"));
                }
                () = pending(&mut self.timer) => self.flush(SealReason::Interval),
                () = self.context.account.pressed(), if self.may_seal_early() => {
                    self.flush(SealReason::Pressure);
                }
                () = pending(&mut self.patience) => self.stuck = true,
                () = self.context.account.asked_to_drop(), if self.may_drop() => self.drop_ahead(),
                () = pending(&mut self.held_off) => {}
                read = pending(&mut self.reading) => self.take(read)?,
            }
        }
    }

    // -----------------------------------------------------------------------------------------
    // Rendering

    pub(super) fn flush(&mut self, reason: SealReason) {
        self.timer = None;
        self.flush.get_or_insert(reason);
    }

    fn wants_slot(&self) -> bool {
        self.batcher.has_full() || (self.flush.is_some() && !self.batcher.is_empty())
    }

    /// Hands over what can be, as far as there are slots; after a flush, the seal behind it.
    fn dispatch(&mut self) {
        while self.wants_slot() {
            let Ok(slot) = self.slots.clone().try_acquire_owned() else {
                return;
            };
            self.dispatch_one(slot);
        }
        if let Some(reason) = self.flush.take() {
            self.timer = None;
            self.seals_queued += 1;
            self.rendering
                .push_back(Box::pin(async move { Ok(Item::Seal(reason)) }));
        }
    }

    fn dispatch_one(&mut self, slot: OwnedSemaphorePermit) {
        let next = self
            .batcher
            .next_full()
            .or_else(|| self.flush.and_then(|_| self.batcher.rest()));
        let Some(Batch {
            records,
            permits,
            cuttable,
        }) = next
        else {
            return;
        };
        let redo = self.redo.as_ref();
        let redo = redo.filter(|_| !planted!("redo-decides-anew"));
        let known = redo.map(|intent| {
            let here = |call: &&StageCall| call.batch == self.dispatched && !self.maimed;
            let here = intent.overruns.iter().filter(here);
            here.copied().collect::<Vec<StageCall>>()
        });
        self.dispatched += 1;
        let (plan, offload) = (self.ranges.plan.clone(), self.context.offload.clone());
        let account = self.context.account.clone();
        self.rendering.push_back(Box::pin(async move {
            let work = move || {
                let rendered = render(&plan, &records, known.as_deref())?;
                let held = account.take_now(rendered.held_bytes());
                // Raw bytes are freed once rendered: the source can give them again.
                drop((records, permits));
                Ok::<_, LaneError>((rendered, held))
            };
            let (rendered, held) = offload_run(offload, work).await??;
            Ok(Item::Rendered {
                rendered: Box::new(rendered),
                cuttable,
                held,
                slot: Arc::new(slot),
            })
        }));
    }

    // -----------------------------------------------------------------------------------------
    // Gathering

    /// Whether there is room for one more sealed range.
    fn may_gather(&self) -> bool {
        self.sealed.len() < self.context.offload.width().max(1)
    }

    /// Whether sealing now would free something soon: there is an open range or records for one, no
    /// seal is on its way already, and none waits for the destination.
    pub(super) fn may_seal_early(&self) -> bool {
        (self.open.is_some() || !self.batcher.is_empty())
            && self.redo.is_none()
            && self.flush.is_none()
            && self.seals_queued == 0
            && self.may_gather()
    }

    fn gather(&mut self, item: Item) -> Result<(), LaneError> {
        match item {
            Item::Seal(reason) => {
                self.seals_queued -= 1;
                self.seal(reason);
            }
            Item::Rendered {
                rendered,
                cuttable,
                held,
                slot,
            } => {
                self.ungathered -= rendered.records;
                if self.open.is_none() {
                    self.open = Some(self.begin(rendered.first));
                }
                let range = self.open.as_mut().expect("just begun");
                range.lossy = self.maimed;
                let from = range.started();
                let begun = range.append(*rendered, cuttable, &slot)?;
                // The range has taken over what it keeps of it.
                drop(held);
                let (number, full) = (range.number, range.full(&self.hints));
                self.build(number, from, begun);
                if let Some(reason) = full.filter(|_| self.redo.is_none()) {
                    self.seal(reason);
                    // What is already read began the next range.
                    self.timer = None;
                    if self.ungathered > 0 {
                        self.start_interval();
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether what is gathered can be delivered without what follows it.
    fn may_end_here(&self) -> bool {
        let cuttable = self.open.as_ref().is_none_or(|range| range.cuttable);
        self.redo.is_none() && self.losses.is_empty() && cuttable
    }

    /// Delivers what came before a micro-batch of which a processor says nothing; what follows is read
    /// again when the lane is.
    fn end_before(&mut self, why: Blocked) {
        self.rendering = FuturesOrdered::new();
        self.batcher = Batcher::new(self.ranges.plan.micro_batch);
        self.in_flight -= self.ungathered;
        (self.ungathered, self.seals_queued) = (0, 0);
        self.stop_reading(Ended::Blocked);
        (self.flush, self.timer) = (None, None);
        self.seal(SealReason::Blocked);
        self.blocked = Some(why);
    }

    fn begin(&mut self, first: Position) -> OpenRange {
        let number = self.next_range;
        self.next_range += 1;
        let redo = self.redo.as_ref();
        let at_ms = redo.map(|intent| intent.at_ms);
        let at_ms = at_ms.filter(|_| !planted!("redo-with-new-time"));
        let at_ms = at_ms.unwrap_or_else(|| self.context.clock.wall_ms());
        // The names are those of the intent, also where its first record is lost.
        let first = redo.and_then(|intent| intent.first).unwrap_or(first);
        let object_ms = redo.and_then(|intent| intent.object_ms);
        OpenRange::new(self.ranges.clone(), number, first, at_ms, object_ms)
    }

    fn seal(&mut self, reason: SealReason) {
        let losses = std::mem::take(&mut self.losses);
        let maimed = self.redo.as_ref().filter(|_| self.maimed);
        let mut cut = maimed.map(|intent| intent.cut);
        if self.open.is_none()
            && let Some(loss) = losses.first()
        {
            // Nothing is left to deliver, but the loss is to be reported.
            self.open = Some(self.begin(loss.after));
            cut = cut.or_else(|| losses.last().and_then(Loss::through));
        }
        if let Some(range) = self.open.take() {
            let (number, from) = (range.number, range.started());
            let (sealed, errors) = range.seal(reason, cut, losses);
            self.sealed.push_back(sealed);
            self.build(number, from, errors);
        }
    }

    fn build(&mut self, range: u64, from: usize, building: Vec<Building>) {
        for (index, object) in (from..).zip(building) {
            self.objects
                .push(Box::pin(async move { (range, index, object.await) }));
        }
    }

    /// An object's bytes are all with the sink: its range was sealed, or it had its size.
    fn built(&mut self, range: u64, index: usize, ready: Ready) {
        if let Some(open) = self.open.as_mut().filter(|open| open.number == range) {
            open.built(index, ready);
            return;
        }
        let sealed = self.sealed.iter_mut().find(|sealed| sealed.number == range);
        if let Some(slot) = sealed.and_then(|sealed| sealed.objects.get_mut(index)) {
            *slot = Some(ready);
        }
    }
}

/// Polls the future in the slot, and empties the slot once it is done; never ready while empty.
pub(crate) fn pending<F: Future + Unpin>(slot: &mut Option<F>) -> impl Future<Output = F::Output> {
    std::future::poll_fn(move |context| match slot {
        None => std::task::Poll::Pending,
        Some(future) => {
            let done = Pin::new(future).poll(context);
            if done.is_ready() {
                *slot = None;
            }
            done
        }
    })
}
