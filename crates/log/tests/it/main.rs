//! The log and the state store from outside: against models, through crashes and faults.
#![expect(clippy::unwrap_used, reason = "tests")]

mod harness;

mod crash;

mod crash_twice;

mod state_crash;

mod planted;

mod corruption;

mod behaviour;

mod state;

mod real;

mod repair;

mod quarantine;

mod disk_full;
