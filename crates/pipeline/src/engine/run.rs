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
use hydrant_core::stage::{Block, Read, SourceError};
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
use crate::object::Ready;
use crate::plan::Plan;
use crate::range::{Building, OpenRange, RangeContext, SealedRange};
use crate::render::{Rendered, render};
use crate::stream::told_to_stop;

/// How long a read waits for records while no range is open. Nothing depends on it: a record ends
/// the wait.
const IDLE_WAIT: Duration = Duration::from_mins(1);

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
    /// The range of the intent is delivered.
    Redone,
}

/// What comes out of rendering, in order.
pub(super) enum Item {
    Rendered {
        rendered: Rendered,
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

    // Reading.
    pub(super) read_after: Position,
    pub(super) reading: Option<BoxFuture<'a, Result<Read, SourceError>>>,
    /// Nothing more is to be read: the lane ended, the cut of a redo is read, or it stops.
    pub(super) read_ended: Option<Ended>,
    pub(super) batcher: Batcher,
    /// The last records of a redo are lost: its last micro-batch is another one than was recorded,
    /// so that what was recorded of its calls says nothing.
    lost_tail: bool,

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
            lost_tail: false,
            ranges: RangeContext {
                key: context.key.clone(),
                plan,
                offload: context.offload.clone(),
                account: context.account.clone(),
                generation,
                slots,
            },
            redo,
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
        loop {
            self.dispatch();
            self.start_read();
            self.start_delivery();
            self.watch_progress();
            self.show();
            if let Some(ended) = self.finished() {
                return Ok(ended);
            }
            let may_gather = self.may_gather();
            let may_stop = self.redo.is_none() && self.read_ended.is_none();
            tokio::select! {
                biased;
                () = told_to_stop(stop), if may_stop => self.stop_reading(Ended::Stopped),
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
                    self.gather(item?)?;
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
                read = pending(&mut self.reading) => self.take(read?)?,
            }
        }
    }

    // -----------------------------------------------------------------------------------------
    // Reading

    fn start_read(&mut self) {
        let busy = self.reading.is_some() || self.read_ended.is_some() || self.flush.is_some();
        if busy || self.batcher.has_full() || self.held_off.is_some() {
            return;
        }
        let wait = if self.timer.is_some() {
            self.hints.interval
        } else {
            IDLE_WAIT
        };
        let context = self.context;
        self.reading = Some(context.source.read(
            &context.key.lane,
            self.read_after,
            context.read_bytes,
            wait,
            &context.account,
        ));
    }

    fn take(&mut self, read: Read) -> Result<(), LaneError> {
        let before = self.in_flight;
        for block in read.blocks {
            self.take_block(block)?;
        }
        if self.in_flight > before && self.timer.is_none() {
            self.start_interval();
        }
        if let Some(intent) = &self.redo {
            if self.read_after >= intent.cut || planted!("redo-cut-by-now") {
                self.read_ended = Some(Ended::Redone);
                self.flush = Some(SealReason::Redo);
            } else if read.ended {
                // The source has lost them. What it still had is delivered, and that is the range.
                tracing::error!(
                    delivery_stream = %self.context.key.delivery_stream, lane = %self.context.key.lane,
                    after = %self.read_after, cut = %intent.cut,
                    "records of an intended range are lost: the lane ended before its cut"
                );
                self.read_after = intent.cut;
                self.read_ended = Some(Ended::Redone);
                self.flush = Some(SealReason::Redo);
                self.lost_tail = true;
            }
        } else if read.ended {
            self.stop_reading(Ended::LaneEnd);
        }
        Ok(())
    }

    fn take_block(&mut self, mut block: Block) -> Result<(), LaneError> {
        if block.records.is_empty() || self.read_ended.is_some() {
            return Ok(());
        }
        if block.records.position(0) <= self.read_after {
            return Err(LaneError::Invariant(format!(
                "a source gave the record {} again, after {} was read",
                block.records.position(0),
                self.read_after
            )));
        }
        if let Some(intent) = &self.redo {
            // The rest of the block belongs to the next range.
            let end = if planted!("redo-past-its-cut") {
                block.records.len()
            } else {
                block.records.first_after(intent.cut)
            };
            block.records = block.records.slice(0, end);
        }
        if let Some(last) = block.records.last_position() {
            self.read_after = last;
            self.in_flight += block.records.len() as u64;
            self.ungathered += block.records.len() as u64;
            self.batcher.push(block);
        } else if let Some(intent) = &self.redo {
            // Everything left lies behind the cut: its last records are gone.
            self.read_after = intent.cut;
        }
        Ok(())
    }

    fn stop_reading(&mut self, why: Ended) {
        self.read_ended = Some(why);
        self.reading = None;
        self.flush = Some(match why {
            Ended::LaneEnd => SealReason::LaneEnd,
            Ended::Stopped => SealReason::Stop,
            Ended::Redone => SealReason::Redo,
        });
    }

    fn start_interval(&mut self) {
        // A redo ends at its cut, whatever the time.
        if self.redo.is_none() {
            self.timer = Some(self.context.clock.sleep(self.hints.interval));
        }
    }

    // -----------------------------------------------------------------------------------------
    // Rendering

    fn flush(&mut self, reason: SealReason) {
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
        let redo = self.redo.as_ref().filter(|_| !self.lost_tail);
        let redo = redo.filter(|_| !planted!("redo-decides-anew"));
        let known = redo.map(|intent| {
            let here = intent
                .overruns
                .iter()
                .filter(|call| call.batch == self.dispatched);
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
                rendered,
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
                let range = self.open.get_or_insert_with(|| {
                    let number = self.next_range;
                    self.next_range += 1;
                    let at_ms = self.redo.as_ref().map(|intent| intent.at_ms);
                    let at_ms = at_ms.filter(|_| !planted!("redo-with-new-time"));
                    let at_ms = at_ms.unwrap_or_else(|| self.context.clock.wall_ms());
                    OpenRange::new(self.ranges.clone(), number, rendered.first, at_ms)
                });
                let from = range.started();
                let begun = range.append(rendered, cuttable, &slot)?;
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

    fn seal(&mut self, reason: SealReason) {
        if let Some(range) = self.open.take() {
            let (number, from) = (range.number, range.started());
            let (sealed, errors) = range.seal(reason);
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
