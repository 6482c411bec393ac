//! What all sources have in common: where a lane starts, what happens to aggregates, and how what
//! was read is charged to the budget.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use hydrant_core::budget::{Account, Permit};
use hydrant_core::stage::Block;
use hydrant_core::{BoxFuture, Records};
use hydrant_log::stream::HashRange;

use crate::deaggregate::Deaggregation;

/// Where a new lane starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the oldest record that is kept.
    TrimHorizon,
    /// After what is there now.
    Latest,
    /// At the first record that arrived then or later, milliseconds since the epoch.
    Timestamp(u64),
}

/// What happens to aggregates of the Kinesis Producer Library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Aggregates {
    /// Passed on as they are: one record each.
    Pass,
    /// Taken apart; no user record is ever dropped.
    #[default]
    KeepAll,
    /// Taken apart as the Kinesis Client Library does: user records that do not belong to the
    /// shard discard their aggregate.
    StrictKcl,
}

impl Aggregates {
    /// The mode as a plan carries it.
    pub fn mode(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::KeepAll => 1,
            Self::StrictKcl => 2,
        }
    }

    pub(crate) fn from_mode(mode: u8) -> Option<Self> {
        [Self::Pass, Self::KeepAll, Self::StrictKcl]
            .into_iter()
            .find(|one| one.mode() == mode)
    }

    /// How aggregates of a shard with this part of the hash space are taken apart, if they are.
    pub(crate) fn deaggregation(self, range: HashRange) -> Option<Deaggregation> {
        match self {
            Self::Pass => None,
            Self::KeepAll => Some(Deaggregation::KeepAll),
            Self::StrictKcl => Some(Deaggregation::StrictKcl(range)),
        }
    }
}

/// Gives each block what it holds of the budget; the permit of the read becomes the first one's.
pub(crate) fn charged(blocks: Vec<Records>, permit: Permit, account: &Account) -> Vec<Block> {
    let mut permit = Some(permit);
    let charge = |records: Records| {
        let held = records.held_bytes();
        let permit = match permit.take() {
            Some(mut permit) => {
                permit.resize(held);
                permit
            }
            None => account.take_now(held),
        };
        Block { records, permit }
    };
    blocks.into_iter().map(charge).collect()
}

/// Waits for either; whether it was the first.
pub(crate) async fn first_of(
    mut first: Pin<&mut (impl Future<Output = ()> + Send)>,
    second: &mut BoxFuture<'static, ()>,
) -> bool {
    poll_fn(|context| {
        if first.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        second.as_mut().poll(context).map(|()| false)
    })
    .await
}

/// What was locked by whoever panicked is whole: nothing here leaves a half-made change.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
