//! Simulated world for tests: clock, faults, fakes. Never shipped.

pub mod sim;

pub mod disk;

pub mod inline;

pub mod clock;

pub mod http;

pub mod corpus;
