//! How the byte budget is divided (`DESIGN.md`, section 5).
//!
//! Set aside at the start is what finishing a range needs, at most three quarters of it: per core a
//! guest and what an encoder gives, so that sealing always frees memory; what guests that are used
//! again hold between their calls, at most an eighth; and what the logs of the
//! configured streams keep for their readers, at most a sixteenth. Of what is left half is
//! split evenly among the delivery streams as their own, and an eighth is the API's: puts go on
//! while a destination is slow, and what waits for it lies in the log. The rest goes to whoever
//! comes first.

use hydrant_core::budget::{Budget, Permit};
use hydrant_transform::{Instances, WasmEngine};

use crate::config::types::{Config, DeliveryStreamConfig, ProcessorConfig};

/// The account of put bodies and answers. No delivery stream can have this name.
pub(crate) const API: &str = "(api)";
/// The account of what is set aside.
const ASIDE: &str = "(set_aside)";
/// What the step of an encoder takes before the budget sees it: the largest object that is
/// compressed as one piece (16 MiB), joined, what comes out of it, and the object made of that.
const ENCODER_BYTES: usize = 48 << 20;

/// What a log keeps of its newest records for readers that are close behind, at most.
const LOG_CACHE_BYTES: usize = 8 << 20;

/// The divided budget.
pub(crate) struct Memory {
    pub(crate) budget: Budget,
    _aside: Permit,
}

/// What each log keeps in memory of its newest records.
pub(crate) fn log_cache_bytes(config: &Config) -> usize {
    let logs = config.streams.len().max(1);
    LOG_CACHE_BYTES.min(config.memory.as_usize() / 16 / logs)
}

/// Divides the budget, and tells the engine what it has for guests.
pub(crate) fn divide(config: &Config, cores: usize, engine: &WasmEngine) -> Memory {
    let capacity = config.memory.as_usize();
    let guests = cores.saturating_mul(guest_bytes(config));
    let idle = cores.saturating_mul(idle_bytes(config)).min(capacity / 8);
    let guests = guests.min(capacity / 2 - idle);
    engine.limit_memory(guests);
    engine.limit_idle(idle);
    let encoders = cores.saturating_mul(ENCODER_BYTES).min(capacity / 4);
    let aside = guests + idle + encoders + config.streams.len() * log_cache_bytes(config);
    let budget = Budget::new(capacity);
    budget.set_share(ASIDE, aside);
    let permit = budget.account(ASIDE).take_now(aside);
    let rest = capacity - aside;
    budget.set_share(API, rest / 8);
    for name in config.delivery_streams.keys() {
        budget.set_share(name, rest / 2 / config.delivery_streams.len());
    }
    Memory {
        budget,
        _aside: permit,
    }
}

/// The memory of the largest guest there is, or of a processor that takes as much.
pub(crate) fn guest_bytes(config: &Config) -> usize {
    let streams = config.delivery_streams.values();
    streams.map(guest_bytes_of).max().unwrap_or(0)
}

/// The memory of all instances that one core leaves behind for its next calls (`instances: reuse`).
pub(crate) fn idle_bytes(config: &Config) -> usize {
    let streams = config.delivery_streams.values();
    let memory = |processor: &ProcessorConfig| match processor {
        ProcessorConfig::Wasm(wasm) if wasm.instances == Instances::Reuse => wasm.memory.as_usize(),
        ProcessorConfig::Wasm(_) | ProcessorConfig::Builtin(_) => 0,
    };
    streams.flat_map(|one| &one.processors).map(memory).sum()
}

/// The memory of a delivery stream's largest guest.
pub(crate) fn guest_bytes_of(stream: &DeliveryStreamConfig) -> usize {
    let memory = |processor: &ProcessorConfig| match processor {
        ProcessorConfig::Wasm(wasm) => wasm.memory.as_usize(),
        ProcessorConfig::Builtin(builtin) => builtin.held_max_bytes(),
    };
    stream.processors.iter().map(memory).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use hydrant_transform::WasmEngine;

    use super::{API, ASIDE, divide};
    use crate::config;

    #[test]
    fn all_of_it_is_divided_and_a_rest_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hydrant.yaml");
        let text = "memory: 256MiB\nstreams: { clicks: {} }\ndelivery_streams:\n  \
                    a: { source: { kinesis: { stream: clicks } }, destination: { stdout: {} } }\n  \
                    b: { source: { kinesis: { stream: clicks } }, destination: { stdout: {} } }\n";
        std::fs::write(&path, text).expect("written");
        let config = config::load(&path).expect("a good configuration");
        let engine = WasmEngine::new().expect("an engine");
        for (cores, aside) in [(1, 56), (2, 72), (64, 72)] {
            let memory = divide(&config, cores, &engine);
            let holders = memory.budget.holders();
            let share = |name: &str| {
                let one = holders.iter().find(|one| one.name == name);
                one.map_or(0, |one| one.share >> 20)
            };
            assert_eq!((share(ASIDE), memory.budget.used() >> 20), (aside, aside));
            let rest = 256 - aside;
            assert_eq!(share(API), rest / 8);
            assert_eq!((share("a"), share("b")), (rest / 4, rest / 4));
        }
    }
}
