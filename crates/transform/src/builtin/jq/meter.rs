//! What a run may spend: steps, and memory for what it builds. Both are counted by the values, never
//! by a clock, so that the same query and record always stop at the same place.

use std::cell::Cell;
use std::panic::resume_unwind;

use jaq_json::{Map, Val};

/// Memory that a run may take for its record and for what it builds of it. What is built is counted
/// once it is there; before that, functions that give much more than they take ask whether there is
/// room for it, and none gives more than twice what it takes without asking.
pub(in super::super) const ROOM: usize = 64 << 20;
/// Fuel of a record, whatever its size: some milliseconds.
const FUEL: u64 = 200_000;
/// Fuel for each byte of a record: enough to go through it many times.
const FUEL_PER_BYTE: u64 = 16;
/// The most fuel of any record: about a second.
const FUEL_MAX: u64 = 4_000_000;
/// Bytes of a text that cost as much as a value.
const TEXT_BYTES: usize = 32;
/// What a value takes in the array or object that holds it; arrays grow by doubling.
const SLOT: u64 = 32;
/// What a text takes beside its bytes, and an array beside its values.
const HEAD: u64 = 64;
/// What an object takes beside its members, and each member beside its name and value.
const OBJECT: u64 = 256;
const MEMBER: u64 = 64;

/// Thrown, past any `try` of the query, where a run has nothing left.
pub(super) enum Exhausted {
    Fuel,
    Room,
}

/// What a run has left.
pub(super) struct Meter {
    fuel: Cell<u64>,
    room: Cell<u64>,
}

impl Meter {
    /// For a record of so many bytes.
    pub(super) fn new(record_bytes: usize) -> Self {
        let by_size = FUEL_PER_BYTE.saturating_mul(record_bytes as u64);
        Self {
            fuel: Cell::new(FUEL.saturating_add(by_size).min(FUEL_MAX)),
            room: Cell::new(ROOM as u64),
        }
    }

    /// Spends steps.
    pub(super) fn spend(&self, steps: u64) {
        match self.fuel.get().checked_sub(steps) {
            Some(left) => self.fuel.set(left),
            None => throw(Exhausted::Fuel),
        }
    }

    /// Spends memory.
    pub(super) fn build(&self, bytes: u64) {
        match self.room.get().checked_sub(bytes) {
            Some(left) => self.room.set(left),
            None => throw(Exhausted::Room),
        }
    }

    /// Spends for a text of so many bytes that is built.
    pub(super) fn build_text(&self, bytes: usize) {
        self.spend(1 + (bytes / TEXT_BYTES) as u64);
        self.build(SLOT + HEAD + bytes as u64);
    }

    /// Spends for an array of nothing, to which values are added.
    pub(super) fn build_array(&self) {
        self.spend(1);
        self.build(SLOT + HEAD);
    }

    /// Spends for an object of nothing, to which members are added.
    pub(super) fn build_object(&self) {
        self.spend(1);
        self.build(SLOT + OBJECT);
    }

    /// Spends for a member, without its name and value.
    pub(super) fn build_member(&self) {
        self.build(MEMBER);
    }

    /// Spends for a value without parts.
    pub(super) fn build_leaf(&self) {
        self.spend(1);
        self.build(SLOT);
    }

    /// Spends steps for all of a value that is read.
    pub(super) fn read(&self, value: &Val) {
        match value {
            Val::TStr(text) | Val::BStr(text) => self.spend(1 + (text.len() / TEXT_BYTES) as u64),
            Val::Arr(items) => {
                self.spend(1);
                items.iter().for_each(|item| self.read(item));
            }
            Val::Obj(entries) => {
                self.spend(1);
                self.read_members(entries);
            }
            Val::Null | Val::Bool(_) | Val::Num(_) => self.spend(1),
        }
    }

    fn read_members(&self, entries: &Map) {
        for (key, value) in entries {
            self.read(key);
            self.read(value);
        }
    }

    /// Spends steps and memory for all of a value that was built.
    pub(super) fn built(&self, value: &Val) {
        match value {
            Val::TStr(text) | Val::BStr(text) => self.build_text(text.len()),
            Val::Arr(items) => {
                self.build_array();
                items.iter().for_each(|item| self.built(item));
            }
            Val::Obj(entries) => {
                self.build_object();
                for (key, value) in entries.iter() {
                    self.build_member();
                    self.built(key);
                    self.built(value);
                }
            }
            Val::Null | Val::Bool(_) | Val::Num(_) => self.build_leaf(),
        }
    }

    /// Stops where there is no room for so many times the value.
    pub(super) fn ask(&self, times: u64, value: &Val) {
        if bytes(value).saturating_mul(times) > self.room.get() {
            throw(Exhausted::Room);
        }
    }
}

/// Not a panic: no message, no hook.
fn throw(what: Exhausted) -> ! {
    resume_unwind(Box::new(what))
}

/// Memory of a value.
fn bytes(value: &Val) -> u64 {
    match value {
        Val::TStr(text) | Val::BStr(text) => SLOT + HEAD + text.len() as u64,
        Val::Arr(items) => SLOT + HEAD + items.iter().map(bytes).sum::<u64>(),
        Val::Obj(entries) => {
            let member = |(key, value)| MEMBER + bytes(key) + bytes(value);
            SLOT + OBJECT + entries.iter().map(member).sum::<u64>()
        }
        Val::Null | Val::Bool(_) | Val::Num(_) => SLOT,
    }
}
