//! Front door: command line, configuration, wiring, demo, operations. The binary is a thin shell
//! around it.

pub mod cli;

pub mod config;

pub mod runtime;

mod store;

mod guest_log;

mod stages;

mod reload;

mod tallies;

mod user_cache;

mod versions;

mod crash;

mod memory;

mod delivery;

pub mod service;

mod run;

mod checker;

mod live;

mod inspect;

mod repair;

mod transform;

mod seeded;

pub mod demo;

mod bench;

pub mod operations;

pub mod telemetry;
