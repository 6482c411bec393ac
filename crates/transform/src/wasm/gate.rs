//! Lets only so many guests run at once that their memories fit into what is set aside for them, in
//! the order in which they came: a large one is not passed by small ones for ever. Blocks the thread,
//! one of the CPU pool: whoever is inside waits for nothing, so it moves on.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A door with a bound on the bytes inside.
pub(super) struct Gate {
    room: Mutex<Room>,
    freed: Condvar,
}

struct Room {
    capacity: usize,
    used: usize,
    /// The number that the next one to come gets, and the one whose turn it is.
    next: u64,
    turn: u64,
}

/// Bytes that are inside until this is dropped.
pub(super) struct Entered<'a> {
    gate: &'a Gate,
    bytes: usize,
}

impl Gate {
    /// A gate that lets everything in.
    pub(super) fn open() -> Self {
        Self {
            room: Mutex::new(Room {
                capacity: usize::MAX,
                used: 0,
                next: 0,
                turn: 0,
            }),
            freed: Condvar::new(),
        }
    }

    pub(super) fn limit(&self, bytes: usize) {
        self.lock().capacity = bytes;
        self.freed.notify_all();
    }

    /// Waits until so many bytes have room. More than all of it goes in alone.
    pub(super) fn enter(&self, bytes: usize) -> Entered<'_> {
        let mut room = self.lock();
        let number = room.next;
        room.next += 1;
        let waits = |room: &mut Room| {
            let full = room.used > 0 && bytes > room.capacity.saturating_sub(room.used);
            room.turn != number || full
        };
        let mut room = self
            .freed
            .wait_while(room, waits)
            .unwrap_or_else(PoisonError::into_inner);
        room.used += bytes;
        room.turn += 1;
        drop(room);
        // The next one may fit, too.
        self.freed.notify_all();
        Entered { gate: self, bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.gate.lock().used -= self.bytes;
        self.gate.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Gate;

    #[test]
    fn no_more_are_inside_than_fit_and_all_come_through() {
        let (gate, inside, most, done) = (
            Gate::open(),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        );
        gate.limit(20);
        std::thread::scope(|scope| {
            for bytes in [10, 10, 10, 5, 30, 10, 10, 30] {
                let (gate, inside, most, done) = (&gate, &inside, &most, &done);
                scope.spawn(move || {
                    let _entered = gate.enter(bytes);
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
}
