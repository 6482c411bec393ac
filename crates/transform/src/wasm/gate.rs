//! Lets only so many guests run at once that their memories fit into what is set aside for them, in
//! the order in which they came: a large one is not passed by small ones for ever. Where several
//! delivery streams have guests, one of them never has all the room: its guests may loop until their
//! time is over, and those of the others need not wait for that. Blocks the thread, one of the CPU
//! pool: whoever is inside waits for nothing, so it moves on.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A door with a bound on the bytes inside.
pub(super) struct Gate {
    room: Mutex<Room>,
    freed: Condvar,
}

struct Room {
    capacity: usize,
    /// What one owner leaves to the others, once it has something inside.
    for_others: usize,
    next: u64,
    waiting: VecDeque<Guest>,
    inside: Vec<Guest>,
}

/// A call: its number, the delivery stream it is for, and what it may take.
struct Guest {
    number: u64,
    owner: String,
    bytes: usize,
}

/// Bytes that are inside until this is dropped.
pub(super) struct Entered<'a> {
    gate: &'a Gate,
    number: u64,
}

impl Room {
    /// Whether it is this one's turn, and there is room. Those before it that wait for their own
    /// owner's calls only are passed, but not by others of the same owner.
    fn admits(&self, number: u64) -> bool {
        let (mut waiting, mut passed) = (self.waiting.iter(), Vec::new());
        let first = waiting.find(|guest| {
            let waits = passed.contains(&&guest.owner) || self.has_its_share(guest);
            if waits {
                passed.push(&guest.owner);
            }
            !waits
        });
        let used: usize = self.inside.iter().map(|guest| guest.bytes).sum();
        first.is_some_and(|guest| {
            let fits = used == 0 || guest.bytes <= self.capacity.saturating_sub(used);
            guest.number == number && fits
        })
    }

    /// Whether the owner of this one would leave too little to others.
    fn has_its_share(&self, guest: &Guest) -> bool {
        let own = self.inside.iter().filter(|one| one.owner == guest.owner);
        let own: usize = own.map(|one| one.bytes).sum();
        own > 0 && own.saturating_add(guest.bytes) > self.capacity.saturating_sub(self.for_others)
    }
}

impl Gate {
    /// A gate that lets everything in.
    pub(super) fn open() -> Self {
        Self {
            room: Mutex::new(Room {
                capacity: usize::MAX,
                for_others: 0,
                next: 0,
                waiting: VecDeque::new(),
                inside: Vec::new(),
            }),
            freed: Condvar::new(),
        }
    }

    /// Sets what fits, and how much of it one owner alone may not have.
    pub(super) fn limit(&self, bytes: usize, for_others: usize) {
        let mut room = self.lock();
        (room.capacity, room.for_others) = (bytes, for_others);
        drop(room);
        self.freed.notify_all();
    }

    /// Waits until so many bytes of this owner have room. More than all of it goes in alone.
    pub(super) fn enter(&self, owner: &str, bytes: usize) -> Entered<'_> {
        let mut room = self.lock();
        let number = room.next;
        room.next += 1;
        room.waiting.push_back(Guest {
            number,
            owner: owner.to_owned(),
            bytes,
        });
        let waits = |room: &mut Room| !room.admits(number);
        let mut room = self
            .freed
            .wait_while(room, waits)
            .unwrap_or_else(PoisonError::into_inner);
        let mut waiting = room.waiting.iter();
        if let Some(at) = waiting.position(|guest| guest.number == number)
            && let Some(guest) = room.waiting.remove(at)
        {
            room.inside.push(guest);
        }
        drop(room);
        // The next one may fit, too.
        self.freed.notify_all();
        Entered { gate: self, number }
    }

    fn lock(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let number = self.number;
        let mut room = self.gate.lock();
        room.inside.retain(|guest| guest.number != number);
        drop(room);
        self.gate.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{RecvTimeoutError, sync_channel};
    use std::time::Duration;

    use super::Gate;

    #[test]
    fn no_more_are_inside_than_fit_and_all_come_through() {
        let (gate, inside, most, done) = (
            Gate::open(),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        );
        gate.limit(20, 0);
        std::thread::scope(|scope| {
            for bytes in [10, 10, 10, 5, 30, 10, 10, 30] {
                let (gate, inside, most, done) = (&gate, &inside, &most, &done);
                scope.spawn(move || {
                    let _entered = gate.enter("a", bytes);
                    let now = inside.fetch_add(bytes, Ordering::SeqCst) + bytes;
                    most.fetch_max(now, Ordering::SeqCst);
                    std::thread::yield_now();
                    inside.fetch_sub(bytes, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(done.load(Ordering::SeqCst), 8);
        assert_eq!(most.load(Ordering::SeqCst), 30, "the largest went alone");
    }

    #[test]
    fn one_owner_does_not_keep_the_others_out() {
        let gate = Gate::open();
        gate.limit(20, 10);
        let looping = gate.enter("hostile", 10);
        std::thread::scope(|scope| {
            let (entered, told) = sync_channel(2);
            let gate = &gate;
            scope.spawn(move || {
                let _entered = gate.enter("hostile", 10);
                entered.send(()).expect("the test waits");
            });
            let waits = told.recv_timeout(Duration::from_millis(50));
            assert_eq!(waits, Err(RecvTimeoutError::Timeout));
            // It passes the one that waits for its own owner.
            for _ in 0..3 {
                drop(gate.enter("healthy", 10));
            }
            drop(looping);
            assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok(()));
        });
    }

    #[test]
    fn one_owner_alone_has_all_of_it_and_a_large_guest_gets_in() {
        let gate = Gate::open();
        gate.limit(20, 0);
        let _both = [gate.enter("alone", 10), gate.enter("alone", 10)];
        let gate = Gate::open();
        gate.limit(20, 15);
        drop(gate.enter("large", 30));
        let _first = gate.enter("a", 10);
        let _other = gate.enter("b", 10);
    }
}
