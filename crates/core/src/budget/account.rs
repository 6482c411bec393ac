//! Who holds bytes, and the bytes that are held.

use std::sync::Arc;

use tokio::sync::{Notify, oneshot};

use super::pool::{Asked, Budget, Waiter};

pub(super) struct AccountHandle {
    pub(super) budget: Budget,
    pub(super) id: u64,
    pub(super) name: Arc<str>,
    pub(super) pressure: Arc<Notify>,
    pub(super) relief: Arc<Notify>,
}

impl Drop for AccountHandle {
    fn drop(&mut self) {
        self.budget.pool().close(self.id);
    }
}

/// Who holds bytes: a lane, a stream's put bodies.
#[derive(Clone)]
pub struct Account(pub(super) Arc<AccountHandle>);

impl Account {
    /// Takes `bytes` once they are free. Dropping the future gives up the place in the queue.
    pub async fn take(&self, bytes: usize) -> Permit {
        let handle = &self.0;
        let waiting = {
            let mut pool = handle.budget.pool();
            if pool.may_take(handle.id, &handle.name, bytes) {
                pool.book(handle.id, 0, bytes);
                None
            } else {
                let (turn, served) = oneshot::channel();
                pool.wait(Waiter {
                    bytes,
                    account: handle.id,
                    name: handle.name.clone(),
                    turn,
                });
                Some(served)
            }
        };
        if let Some(served) = waiting {
            // The guard gives bytes back that were granted just before the future was dropped.
            let mut granted = Granted {
                account: self,
                bytes,
                served: Some(served),
            };
            if let Some(served) = &mut granted.served {
                // The pool keeps its waiters as long as it lives, and this account keeps the pool.
                drop(served.await);
            }
            granted.served = None;
            std::mem::forget(granted);
        }
        self.permit(bytes)
    }

    /// Takes `bytes` if they are free at once and it is this account's turn.
    pub fn try_take(&self, bytes: usize) -> Option<Permit> {
        let handle = &self.0;
        {
            let mut pool = handle.budget.pool();
            if !pool.may_take(handle.id, &handle.name, bytes) {
                pool.press(&handle.name);
                return None;
            }
            pool.book(handle.id, 0, bytes);
        }
        Some(self.permit(bytes))
    }

    /// Takes `bytes` even where the pool is full: for what finishing a range needs, which frees
    /// more than it takes.
    pub fn take_now(&self, bytes: usize) -> Permit {
        self.0.budget.pool().book(self.0.id, 0, bytes);
        self.permit(bytes)
    }

    /// Says whether a range is worked on that cannot be sealed early, because its cut is fixed.
    /// Meanwhile, if it is this account's turn, it may take more bytes than there are.
    pub fn set_must_finish(&self, must_finish: bool) {
        self.0.budget.pool().set_must_finish(self.0.id, must_finish);
    }

    /// Says how many bytes sealing the open range would free, and how many could be dropped and
    /// made again, because nothing is delivered at the time.
    pub fn set_able(&self, sealable: usize, droppable: usize) {
        self.0
            .budget
            .pool()
            .set_able(self.0.id, sealable, droppable);
    }

    /// Completes when this account is asked to seal its open range early.
    pub async fn pressed(&self) {
        loop {
            self.0.pressure.notified().await;
            if self.0.budget.pool().heard(self.0.id, Asked::Seal) {
                return;
            }
        }
    }

    /// Completes when this account is asked to drop what it can make again.
    pub async fn asked_to_drop(&self) {
        loop {
            self.0.relief.notified().await;
            if self.0.budget.pool().heard(self.0.id, Asked::Drop) {
                return;
            }
        }
    }

    /// Bytes that this account holds.
    pub fn held(&self) -> usize {
        self.0.budget.pool().held(self.0.id)
    }

    /// A permit for bytes that are booked already.
    fn permit(&self, bytes: usize) -> Permit {
        Permit {
            account: self.clone(),
            bytes,
        }
    }
}

struct Granted<'a> {
    account: &'a Account,
    bytes: usize,
    served: Option<oneshot::Receiver<()>>,
}

impl Drop for Granted<'_> {
    fn drop(&mut self) {
        let handle = &self.account.0;
        let mut pool = handle.budget.pool();
        if let Some(served) = &mut self.served {
            if served.try_recv().is_ok() {
                pool.book(handle.id, self.bytes, 0);
            } else {
                served.close();
            }
        }
        pool.serve();
    }
}

/// Bytes that are held; dropping it gives them back.
pub struct Permit {
    account: Account,
    bytes: usize,
}

impl Permit {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds more or fewer bytes from now on. Growing never waits: see [`Account::take_now`].
    pub fn resize(&mut self, bytes: usize) {
        let handle = &self.account.0;
        let mut pool = handle.budget.pool();
        pool.book(handle.id, self.bytes, bytes);
        let freed = bytes < self.bytes;
        self.bytes = bytes;
        if freed {
            pool.serve();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.resize(0);
    }
}
