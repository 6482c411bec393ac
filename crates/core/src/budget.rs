//! One pool of bytes for the whole process: taken before bytes are read, given back when they are
//! freed. Waiters are served in turn. While someone waits, the account that could free the most by
//! sealing its open range is asked to. One account at a time, which must finish a range whose cut is
//! fixed, may take more than there is: else such ranges could wait for each other for ever.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

/// A pool of bytes.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    pool: Mutex<Pool>,
}

struct Pool {
    capacity: usize,
    used: usize,
    waiters: VecDeque<Waiter>,
    accounts: BTreeMap<u64, AccountEntry>,
    /// The account that may take more than there is.
    overdraft: Option<u64>,
    next_account: u64,
}

struct Waiter {
    bytes: usize,
    account: u64,
    turn: oneshot::Sender<()>,
}

struct AccountEntry {
    name: String,
    held: usize,
    sealable: usize,
    pressure: Arc<Notify>,
    asked: bool,
    /// It works on a range that it cannot seal earlier.
    must_finish: bool,
}

impl Budget {
    /// A pool of `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        let pool = Pool {
            capacity,
            used: 0,
            waiters: VecDeque::new(),
            accounts: BTreeMap::new(),
            overdraft: None,
            next_account: 0,
        };
        Self(Arc::new(Inner {
            pool: Mutex::new(pool),
        }))
    }

    /// Opens an account: who holds bytes, for the metrics and for choosing whose range to seal.
    pub fn account(&self, name: &str) -> Account {
        let mut pool = self.pool();
        let id = pool.next_account;
        pool.next_account += 1;
        let pressure = Arc::new(Notify::new());
        let entry = AccountEntry {
            name: name.to_owned(),
            held: 0,
            sealable: 0,
            pressure: pressure.clone(),
            asked: false,
            must_finish: false,
        };
        pool.accounts.insert(id, entry);
        Account(Arc::new(AccountHandle {
            budget: self.clone(),
            id,
            pressure,
        }))
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.pool().used
    }

    /// Bytes there are.
    pub fn capacity(&self) -> usize {
        self.pool().capacity
    }

    /// How many wait for bytes.
    pub fn waiting(&self) -> usize {
        self.pool().waiters.len()
    }

    /// Who holds how many bytes, by account name, largest last.
    pub fn holders(&self) -> Vec<(String, usize)> {
        let pool = self.pool();
        let mut held: BTreeMap<String, usize> = BTreeMap::new();
        for entry in pool.accounts.values() {
            *held.entry(entry.name.clone()).or_default() += entry.held;
        }
        held.into_iter().collect()
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.0.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// A request that is larger than the pool is served once the pool is empty.
    fn fits(&self, bytes: usize) -> bool {
        self.used == 0 || self.used + bytes <= self.capacity
    }

    /// Whether this account may take more than there is; the first that needs it gets the right.
    fn overdraws(&mut self, account: u64) -> bool {
        let must_finish = self
            .accounts
            .get(&account)
            .is_some_and(|entry| entry.must_finish);
        must_finish && *self.overdraft.get_or_insert(account) == account
    }

    fn serve(&mut self) {
        // One that gave up must not stand in the way of those behind it.
        self.waiters.retain(|waiter| !waiter.turn.is_closed());
        while let Some(first) = self.waiters.front() {
            if !self.fits(first.bytes) {
                break;
            }
            self.grant(0);
        }
        while let Some(index) = self.next_overdrawing() {
            self.grant(index);
        }
        if !self.waiters.is_empty() {
            self.press();
        }
    }

    fn next_overdrawing(&mut self) -> Option<usize> {
        let accounts: Vec<u64> = self.waiters.iter().map(|waiter| waiter.account).collect();
        accounts
            .into_iter()
            .position(|account| self.overdraws(account))
    }

    fn grant(&mut self, index: usize) {
        if let Some(waiter) = self.waiters.remove(index)
            // A waiter that was cancelled gives its turn to the next.
            && waiter.turn.send(()).is_ok()
        {
            self.used += waiter.bytes;
        }
    }

    /// Asks the account with the most sealable bytes to seal, unless one was asked already.
    fn press(&mut self) {
        if self.accounts.values().any(|entry| entry.asked) {
            return;
        }
        if let Some(fullest) = self
            .accounts
            .values_mut()
            .max_by_key(|entry| entry.sealable)
            && fullest.sealable > 0
        {
            fullest.asked = true;
            fullest.pressure.notify_one();
        }
    }
}

struct AccountHandle {
    budget: Budget,
    id: u64,
    pressure: Arc<Notify>,
}

impl Drop for AccountHandle {
    fn drop(&mut self) {
        let mut pool = self.budget.pool();
        pool.accounts.remove(&self.id);
        if pool.overdraft == Some(self.id) {
            pool.overdraft = None;
            pool.serve();
        }
    }
}

/// Who holds bytes: a lane, a stream's put bodies.
#[derive(Clone)]
pub struct Account(Arc<AccountHandle>);

impl Account {
    /// Takes `bytes` once they are free. Dropping the future gives up the place in the queue.
    pub async fn take(&self, bytes: usize) -> Permit {
        let waiting = {
            let mut pool = self.0.budget.pool();
            if (pool.waiters.is_empty() && pool.fits(bytes)) || pool.overdraws(self.0.id) {
                pool.used += bytes;
                None
            } else {
                let (turn, served) = oneshot::channel();
                pool.waiters.push_back(Waiter {
                    bytes,
                    account: self.0.id,
                    turn,
                });
                pool.press();
                Some(served)
            }
        };
        if let Some(served) = waiting {
            // The guard gives bytes back that were granted just before the future was dropped.
            let mut granted = Granted {
                budget: self.0.budget.clone(),
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
        self.hold(bytes)
    }

    /// Takes `bytes` if they are free at once and nobody waits.
    pub fn try_take(&self, bytes: usize) -> Option<Permit> {
        {
            let mut pool = self.0.budget.pool();
            if !pool.waiters.is_empty() || !pool.fits(bytes) {
                pool.press();
                return None;
            }
            pool.used += bytes;
        }
        Some(self.hold(bytes))
    }

    /// Takes `bytes` even where the pool is full: for what finishing a range needs, which frees
    /// more than it takes.
    pub fn take_now(&self, bytes: usize) -> Permit {
        self.0.budget.pool().used += bytes;
        self.hold(bytes)
    }

    /// Says whether a range is worked on that cannot be sealed early, because its cut is fixed.
    /// Meanwhile, if it is this account's turn, it may take more bytes than there are.
    pub fn set_must_finish(&self, must_finish: bool) {
        let mut pool = self.0.budget.pool();
        if let Some(entry) = pool.accounts.get_mut(&self.0.id) {
            entry.must_finish = must_finish;
        }
        if !must_finish && pool.overdraft == Some(self.0.id) {
            pool.overdraft = None;
        }
        pool.serve();
    }

    /// Says how many bytes sealing the open range would free.
    pub fn set_sealable(&self, bytes: usize) {
        let mut pool = self.0.budget.pool();
        if let Some(entry) = pool.accounts.get_mut(&self.0.id) {
            entry.sealable = bytes;
            if bytes == 0 {
                entry.asked = false;
            }
        }
        if !pool.waiters.is_empty() {
            pool.press();
        }
    }

    /// Completes when this account is asked to seal its open range early.
    pub async fn pressed(&self) {
        self.0.pressure.notified().await;
        // It was heard: the next one may be asked.
        if let Some(entry) = self.0.budget.pool().accounts.get_mut(&self.0.id) {
            entry.asked = false;
        }
    }

    /// Bytes that this account holds.
    pub fn held(&self) -> usize {
        self.0
            .budget
            .pool()
            .accounts
            .get(&self.0.id)
            .map_or(0, |entry| entry.held)
    }

    fn hold(&self, bytes: usize) -> Permit {
        let mut pool = self.0.budget.pool();
        if let Some(entry) = pool.accounts.get_mut(&self.0.id) {
            entry.held += bytes;
        }
        drop(pool);
        Permit {
            account: self.clone(),
            bytes,
        }
    }
}

struct Granted {
    budget: Budget,
    bytes: usize,
    served: Option<oneshot::Receiver<()>>,
}

impl Drop for Granted {
    fn drop(&mut self) {
        let mut pool = self.budget.pool();
        if let Some(served) = &mut self.served {
            if served.try_recv().is_ok() {
                pool.used -= self.bytes;
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
        pool.used = pool.used - self.bytes + bytes;
        if let Some(entry) = pool.accounts.get_mut(&handle.id) {
            entry.held = entry.held - self.bytes + bytes;
        }
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::Budget;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn waiters_are_served_in_turn_and_bytes_come_back() {
        let budget = Budget::new(100);
        let account = budget.account("lane");
        let first = account.try_take(80).expect("free");
        let mut large = pin!(account.take(90));
        let mut small = pin!(account.take(10));
        assert!(poll(large.as_mut()).is_pending());
        assert!(
            poll(small.as_mut()).is_pending(),
            "the small one does not pass the large one"
        );
        drop(first);
        let Poll::Ready(large) = poll(large.as_mut()) else {
            panic!("served first")
        };
        let Poll::Ready(small) = poll(small.as_mut()) else {
            panic!("served second")
        };
        assert_eq!((budget.used(), account.held()), (100, 100));
        drop((large, small));
        assert_eq!((budget.used(), budget.waiting()), (0, 0));
    }

    #[test]
    fn a_cancelled_waiter_loses_nothing() {
        let budget = Budget::new(10);
        let account = budget.account("lane");
        let held = account.try_take(10).expect("free");
        {
            let mut given_up = Box::pin(account.take(5));
            assert!(poll(given_up.as_mut()).is_pending());
            drop(held);
            // It was granted, and is dropped without having been polled again.
        }
        assert_eq!(budget.used(), 0);
        assert!(account.try_take(10).is_some());
    }

    #[test]
    fn one_that_gave_up_does_not_stand_in_the_way() {
        let budget = Budget::new(100);
        let account = budget.account("lane");
        let held = account.try_take(90).expect("free");
        let mut large = Box::pin(account.take(50));
        let mut small = pin!(account.take(10));
        assert!(poll(large.as_mut()).is_pending() && poll(small.as_mut()).is_pending());
        drop(large);
        assert!(poll(small.as_mut()).is_ready());
        assert_eq!(budget.waiting(), 0);
        drop(held);
    }

    #[test]
    fn more_than_all_is_served_when_the_pool_is_empty() {
        let budget = Budget::new(10);
        let account = budget.account("lane");
        assert!(account.try_take(50).is_some());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn of_ranges_that_must_finish_one_at_a_time_overdraws() {
        let budget = Budget::new(100);
        let (one, two) = (budget.account("one"), budget.account("two"));
        let (held_one, held_two) = (one.take_now(50), two.take_now(50));
        one.set_must_finish(true);
        two.set_must_finish(true);
        let Poll::Ready(more) = poll(pin!(one.take(40))) else {
            panic!("the first may")
        };
        let mut second = pin!(two.take(40));
        assert!(
            poll(second.as_mut()).is_pending(),
            "the second waits for the first"
        );
        drop((held_one, more));
        assert!(poll(second.as_mut()).is_ready(), "what came back is enough");
        let mut again = Box::pin(two.take(60));
        assert!(poll(again.as_mut()).is_pending());
        one.set_must_finish(false);
        assert!(poll(again.as_mut()).is_ready(), "the right passes on");
        drop(held_two);
    }

    #[test]
    fn pressure_asks_the_fullest_once() {
        let budget = Budget::new(100);
        let (thin, fat) = (budget.account("thin"), budget.account("fat"));
        let (held_thin, held_fat) = (thin.take_now(20), fat.take_now(80));
        thin.set_sealable(20);
        fat.set_sealable(80);
        let mut waiting = pin!(thin.take(30));
        assert!(poll(waiting.as_mut()).is_pending());
        assert!(poll(pin!(fat.pressed())).is_ready(), "the fullest is asked");
        assert!(poll(pin!(thin.pressed())).is_pending(), "the other is not");
        fat.set_sealable(0);
        drop(held_fat);
        assert!(poll(waiting.as_mut()).is_ready());
        drop(held_thin);
    }
}
