//! The pool: who holds how much, who waits, and who is served next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::account::{Account, AccountHandle};

/// A pool of bytes.
#[derive(Clone)]
pub struct Budget(Arc<Mutex<Pool>>);

/// What the accounts of one name have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Their name.
    pub name: String,
    /// Bytes that they hold.
    pub held: usize,
    /// Bytes that nobody else uses.
    pub share: usize,
    /// How many of them wait for bytes.
    pub waiting: usize,
}

pub(super) struct Pool {
    capacity: usize,
    /// All that is held.
    used: usize,
    /// What of it is beyond the shares of those who hold it.
    beyond: usize,
    /// All shares together.
    shares: usize,
    waiters: VecDeque<Waiter>,
    accounts: BTreeMap<u64, AccountEntry>,
    /// By the name of their accounts.
    groups: BTreeMap<Arc<str>, Group>,
    next_account: u64,
}

pub(super) struct Waiter {
    pub(super) bytes: usize,
    pub(super) account: u64,
    pub(super) name: Arc<str>,
    pub(super) turn: oneshot::Sender<()>,
}

struct AccountEntry {
    name: Arc<str>,
    held: usize,
    sealable: usize,
    pressure: Arc<Notify>,
    droppable: usize,
    relief: Arc<Notify>,
    asked: Option<Asked>,
    /// It works on a range that it cannot seal earlier.
    must_finish: bool,
}

/// What an account was asked to do, and has not heard yet.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Asked {
    Seal,
    Drop,
}

/// The accounts of one name.
#[derive(Clone, Copy, Default)]
struct Group {
    held: usize,
    share: usize,
    /// The account that may take more than there is.
    overdraft: Option<u64>,
}

impl Group {
    fn beyond(self) -> usize {
        self.held.saturating_sub(self.share)
    }
}

impl Budget {
    /// A pool of `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(Pool {
            capacity,
            used: 0,
            beyond: 0,
            shares: 0,
            waiters: VecDeque::new(),
            accounts: BTreeMap::new(),
            groups: BTreeMap::new(),
            next_account: 0,
        })))
    }

    /// Gives the accounts of this name so many bytes of their own.
    pub fn set_share(&self, name: &str, bytes: usize) {
        let mut pool = self.pool();
        let mut group = pool.group(name);
        pool.beyond -= group.beyond();
        pool.shares = pool.shares - group.share + bytes;
        group.share = bytes;
        pool.beyond += group.beyond();
        pool.groups.insert(name.into(), group);
        pool.serve();
    }

    /// Opens an account: who holds bytes, for the metrics and for choosing whose range to seal.
    pub fn account(&self, name: &str) -> Account {
        let mut pool = self.pool();
        let id = pool.next_account;
        pool.next_account += 1;
        let name = Arc::<str>::from(name);
        let (pressure, relief) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        pool.groups.entry(name.clone()).or_default();
        let entry = AccountEntry {
            name: name.clone(),
            held: 0,
            sealable: 0,
            pressure: pressure.clone(),
            droppable: 0,
            relief: relief.clone(),
            asked: None,
            must_finish: false,
        };
        pool.accounts.insert(id, entry);
        Account(Arc::new(AccountHandle {
            budget: self.clone(),
            id,
            name,
            pressure,
            relief,
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

    /// Who holds how many bytes, in the order of their names.
    pub fn holders(&self) -> Vec<Holder> {
        let pool = self.pool();
        let holder = |(name, group): (&Arc<str>, &Group)| Holder {
            name: name.to_string(),
            held: group.held,
            share: group.share,
            waiting: pool.waiters.iter().filter(|one| one.name == *name).count(),
        };
        pool.groups.iter().map(holder).collect()
    }

    pub(super) fn pool(&self) -> MutexGuard<'_, Pool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    fn group(&self, name: &str) -> Group {
        self.groups.get(name).copied().unwrap_or_default()
    }

    fn within_share(&self, name: &str, bytes: usize) -> bool {
        let group = self.group(name);
        group.held + bytes <= group.share
    }

    /// Whether there is room beyond the shares. A request that is larger than all of it is served
    /// once nothing else is held there.
    fn fits(&self, name: &str, bytes: usize) -> bool {
        let group = self.group(name);
        let others = self.beyond - group.beyond();
        let wanted = (group.held + bytes).saturating_sub(group.share);
        let room = self.capacity.saturating_sub(self.shares);
        others + wanted <= room || (others == 0 && group.held == 0)
    }

    /// Whether these bytes may be taken at once: by one who overdraws, or whose turn it is.
    pub(super) fn may_take(&mut self, account: u64, name: &str, bytes: usize) -> bool {
        let in_turn = if self.within_share(name, bytes) {
            self.waiters.iter().all(|waiter| &*waiter.name != name)
        } else {
            self.waiters.is_empty() && self.fits(name, bytes)
        };
        in_turn || self.overdraws(account)
    }

    pub(super) fn wait(&mut self, waiter: Waiter) {
        let name = waiter.name.clone();
        self.waiters.push_back(waiter);
        self.press(&name);
    }

    /// Books that an account holds `to` bytes where it held `from`.
    pub(super) fn book(&mut self, account: u64, from: usize, to: usize) {
        let Some(entry) = self.accounts.get_mut(&account) else {
            return;
        };
        entry.held = entry.held - from + to;
        if let Some(group) = self.groups.get_mut(&entry.name) {
            self.beyond -= group.beyond();
            group.held = group.held - from + to;
            self.beyond += group.beyond();
        }
        self.used = self.used - from + to;
    }

    pub(super) fn held(&self, account: u64) -> usize {
        self.accounts.get(&account).map_or(0, |entry| entry.held)
    }

    /// Whether this account may take more than there is; of each name the first that needs it gets
    /// the right.
    fn overdraws(&mut self, account: u64) -> bool {
        let must_finish = self.accounts.get(&account).filter(|one| one.must_finish);
        let Some(entry) = must_finish else {
            return false;
        };
        let group = self.groups.get_mut(&entry.name);
        group.is_some_and(|group| *group.overdraft.get_or_insert(account) == account)
    }

    fn end_overdraft(&mut self, account: u64) {
        for group in self.groups.values_mut() {
            group.overdraft = group.overdraft.filter(|one| *one != account);
        }
    }

    /// Serves whose turn it is. One that waits keeps those of its own name waiting, and all that
    /// want more than their share.
    pub(super) fn serve(&mut self) {
        // One that gave up must not stand in the way of those behind it.
        self.waiters.retain(|waiter| !waiter.turn.is_closed());
        let (mut index, mut shared_waits, mut waiting) = (0, false, BTreeSet::new());
        while let Some(waiter) = self.waiters.get(index) {
            let (name, bytes, account) = (waiter.name.clone(), waiter.bytes, waiter.account);
            let within = self.within_share(&name, bytes);
            let room = within || (!shared_waits && self.fits(&name, bytes));
            if (room && !waiting.contains(&name)) || self.overdraws(account) {
                self.grant(index);
            } else {
                shared_waits |= !within;
                waiting.insert(name);
                index += 1;
            }
        }
        if let Some(name) = self.waiters.front().map(|first| first.name.clone()) {
            self.press(&name);
        }
    }

    fn grant(&mut self, index: usize) {
        if let Some(waiter) = self.waiters.remove(index)
            // A waiter that was cancelled gives its turn to the next.
            && waiter.turn.send(()).is_ok()
        {
            self.book(waiter.account, 0, waiter.bytes);
        }
    }

    /// Asks the account with the most sealable bytes to seal, unless one was asked already: one
    /// that is beyond its share, or one of a name that waits. Where nobody can seal, one
    /// that is beyond its share and gets nothing delivered is asked to drop what it has.
    pub(super) fn press(&mut self, waits: &str) {
        if self.accounts.values().any(|entry| entry.asked.is_some()) {
            return;
        }
        let groups = &self.groups;
        let beyond =
            |entry: &AccountEntry| groups.get(&entry.name).is_some_and(|one| one.beyond() > 0);
        let waiting =
            |name: &str| waits == name || self.waiters.iter().any(|one| &*one.name == name);
        let seals = |entry: &&mut AccountEntry| {
            entry.sealable > 0 && (beyond(entry) || waiting(&entry.name))
        };
        let others_wait =
            |name: &str| waits != name || self.waiters.iter().any(|waiter| &*waiter.name != name);
        let drops = |entry: &&mut AccountEntry| {
            entry.droppable > 0 && beyond(entry) && others_wait(&entry.name)
        };
        let able = self.accounts.values_mut().filter(seals);
        if let Some(fullest) = able.max_by_key(|entry| entry.sealable) {
            fullest.asked = Some(Asked::Seal);
            fullest.pressure.notify_one();
            return;
        }
        let able = self.accounts.values_mut().filter(drops);
        if let Some(fullest) = able.max_by_key(|entry| entry.droppable) {
            fullest.asked = Some(Asked::Drop);
            fullest.relief.notify_one();
        }
    }

    pub(super) fn set_must_finish(&mut self, account: u64, must_finish: bool) {
        if let Some(entry) = self.accounts.get_mut(&account) {
            entry.must_finish = must_finish;
        }
        if !must_finish {
            self.end_overdraft(account);
        }
        self.serve();
    }

    pub(super) fn set_able(&mut self, account: u64, sealable: usize, droppable: usize) {
        if let Some(entry) = self.accounts.get_mut(&account) {
            entry.sealable = sealable;
            entry.droppable = droppable;
            let able = match entry.asked {
                Some(Asked::Seal) => sealable > 0,
                Some(Asked::Drop) => droppable > 0,
                None => true,
            };
            if !able {
                entry.asked = None;
            }
        }
        if let Some(name) = self.waiters.front().map(|first| first.name.clone()) {
            self.press(&name);
        }
    }

    /// The one that was asked has heard it: the next one may be asked. `false` where it was not
    /// asked for this, or is not any more.
    pub(super) fn heard(&mut self, account: u64, what: Asked) -> bool {
        let entry = self.accounts.get_mut(&account);
        entry.is_some_and(|entry| entry.asked.take_if(|asked| *asked == what).is_some())
    }

    pub(super) fn close(&mut self, account: u64) {
        self.accounts.remove(&account);
        self.end_overdraft(account);
        self.serve();
    }
}
