//! Delivers a sealed range: intent, objects, commit, in this order and never another.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hydrant_core::stage::{SinkError, Source};
use hydrant_core::state::{LaneState, LaneStore};
use hydrant_core::{LaneKey, Position, planted};

use crate::error::LaneError;
use crate::intent::Intent;
use crate::object::Ready;
use crate::range::SealedRange;
use crate::status::{Status, Totals};

pub(crate) struct Delivery {
    pub(crate) key: Arc<LaneKey>,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) status: Arc<Status>,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) store: Box<dyn LaneStore>,
    /// Committed position before this range.
    pub(crate) position: Position,
    /// The intent is in the store already: the range is redone.
    pub(crate) intended: bool,
}

/// Moments of a delivery that tests stop at. The real one does nothing.
pub trait Hooks: Send + Sync {
    /// The named moment is reached: `after-intent`, `after-object` (one more), `after-objects` (all),
    /// `after-commit`.
    fn reached(&self, point: &'static str);

    /// A planted fault: leave out the intent. Only a test says yes.
    fn skip_intent(&self) -> bool {
        false
    }

    /// A planted fault: cut anew instead of redoing a found intent. Only a test says yes.
    fn recut(&self) -> bool {
        false
    }
}

/// What runs outside of tests.
pub struct NoHooks;

impl Hooks for NoHooks {
    fn reached(&self, _point: &'static str) {}
}

pub(crate) struct Delivered {
    pub(crate) store: Box<dyn LaneStore>,
    pub(crate) cut: Position,
    pub(crate) totals: Totals,
}

pub(crate) async fn deliver(
    delivery: Delivery,
    range: SealedRange,
) -> Result<Delivered, LaneError> {
    let Delivery {
        key,
        source,
        status,
        hooks,
        mut store,
        position,
        intended,
    } = delivery;
    status.attempted();
    let mut totals = range.totals;
    let cut = range.intent.cut;
    if !totals.is_balanced() {
        return Err(LaneError::Invariant(format!(
            "a range's counts do not add up: {totals:?}"
        )));
    }
    let generation = range.intent.generation;
    if planted!("committed-told-early") {
        source.committed(&key.lane, cut);
    }
    let wants_intent =
        range.has_objects() && !intended && !hooks.skip_intent() && !planted!("no-intent");
    let (mut objects, mut late) = (range.objects, Vec::new());
    let visible = Visible {
        partitions: &range.partitions,
        maimed: range.maimed,
        divided: range.divided,
    };
    if planted!("completed-before-intent") {
        let early = std::mem::take(&mut objects);
        late = complete(early, &visible, &mut totals, &*hooks).await?;
    }
    if wants_intent {
        intend(&mut *store, position, &range.intent).await?;
    }
    hooks.reached("after-intent");
    late.extend(complete(objects, &visible, &mut totals, &*hooks).await?);
    hooks.reached("after-objects");
    store
        .store(LaneState {
            position: cut,
            generation,
            intent: None,
            ended: false,
        })
        .await?;
    hooks.reached("after-commit");
    for one in late {
        one.upload.complete().await?;
    }
    source.committed(&key.lane, cut);
    status.committed(key.lane.as_str(), &totals);
    tracing::debug!(
        delivery_stream = %key.delivery_stream, lane = %key.lane, reason = range.reason.as_str(),
        records = totals.read, objects = totals.objects, "range was committed"
    );
    Ok(Delivered { store, cut, totals })
}

/// Makes the cut durable, and what was decided.
async fn intend(
    store: &mut dyn LaneStore,
    position: Position,
    intent: &Intent,
) -> Result<(), LaneError> {
    let mut state = LaneState {
        position,
        generation: intent.generation,
        intent: Some(intent.encode()?),
        ended: false,
    };
    let stored = store.store(state.clone()).await;
    if !planted!("intent-not-awaited") {
        stored?;
    }
    if planted!("intent-cleared-early") {
        state.intent = None;
        store.store(state).await?;
    }
    Ok(())
}

/// How the objects of a range become visible.
struct Visible<'a> {
    /// The number of each object's partition; error objects have none.
    partitions: &'a [usize],
    /// See [`SealedRange::maimed`].
    maimed: bool,
    /// See [`SealedRange::divided`].
    divided: bool,
}

/// Makes all objects visible, those of a partition one after the other and the rest at once. Gives
/// those that a planted fault leaves for later.
async fn complete(
    objects: Vec<Option<Ready>>,
    visible: &Visible<'_>,
    totals: &mut Totals,
    hooks: &dyn Hooks,
) -> Result<Vec<Ready>, LaneError> {
    let mut chains: BTreeMap<usize, Vec<Ready>> = BTreeMap::new();
    let mut completing = FuturesUnordered::new();
    let mut after_commit = Vec::new();
    for (index, ready) in objects.into_iter().enumerate() {
        let ready = ready.ok_or_else(|| LaneError::Invariant("an object is not ready".into()))?;
        match visible.partitions.get(index) {
            Some(partition) => {
                totals.delivered_bytes += ready.bytes;
                // Each is a chain of its own where a planted fault wants no order.
                let chain = if planted!("parts-in-any-order") {
                    index
                } else {
                    *partition
                };
                chains.entry(chain).or_default().push(ready);
            }
            None if planted!("errors-after-commit") => after_commit.push(ready),
            None => completing.push(chain(vec![ready], visible.maimed, hooks)),
        }
    }
    // A partition's objects end elsewhere once records are lost, so another one of the name has not
    // what this one has.
    let takes_other = visible.maimed && !visible.divided;
    for objects in chains.into_values() {
        completing.push(chain(objects, takes_other, hooks));
    }
    while let Some(done) = completing.next().await {
        if planted!("commit-over-failed-object") {
            continue;
        }
        done?;
        if planted!("commit-after-first-object") {
            break;
        }
    }
    Ok(after_commit)
}

/// Makes objects visible one after the other.
async fn chain(objects: Vec<Ready>, takes_other: bool, hooks: &dyn Hooks) -> Result<(), LaneError> {
    for ready in objects {
        let done = ready.upload.complete().await;
        drop(ready.permit);
        match done {
            // It was put before records of its range were lost, and has more than this one.
            Err(SinkError::Mismatch { place }) if takes_other => {
                tracing::warn!(place, "the object is there as it was before the loss");
            }
            done => drop(done?),
        }
        hooks.reached("after-object");
    }
    Ok(())
}
