//! How the byte budget is divided (`DESIGN.md`, section 5).
//!
//! Set aside at the start is what finishing a range needs, at most three quarters of it: per core a
//! guest and what an encoder gives, so that sealing always frees memory, and a guest more where
//! delivery streams share the cores, so that one whose guests loop does not hold up the others; what
//! guests that are used again hold between their calls, at most an eighth; and what the logs of the
//! configured streams keep for their readers, at most a sixteenth. Of what is left half is split
//! evenly among the delivery streams as their own, and an eighth is the API's: puts go on
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
    let idle = cores.saturating_mul(idle_bytes(config)).min(capacity / 8);
    let guests = guests(config, cores, capacity / 2 - idle);
    engine.limit_memory(guests.all, guests.for_others);
    engine.limit_idle(idle);
    let guests = guests.all;
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

/// What guests have, and how much of it one delivery stream leaves to the others.
struct Guests {
    all: usize,
    for_others: usize,
}

fn guests(config: &Config, cores: usize, most: usize) -> Guests {
    let streams = config.delivery_streams.values();
    let sizes: Vec<usize> = streams
        .map(guest_bytes_of)
        .filter(|size| *size > 0)
        .collect();
    let largest = guest_bytes(config);
    let is_shared = sizes.len() > 1;
    // The spare thread of the pool runs one, too.
    let places = cores + usize::from(is_shared);
    Guests {
        all: places.saturating_mul(largest).min(most),
        for_others: if is_shared { largest } else { 0 },
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

    use super::{API, ASIDE, divide, guests};
    use crate::config;

    #[test]
    fn streams_that_share_the_cores_have_a_guest_more_and_leave_one_to_each_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hydrant.yaml");
        let stream = |name: &str| {
            format!(
                "  {name}:\n    source: {{ kinesis: {{ stream: clicks }} }}\n    processors:\n      \
                 - wasm: {{ module: m.wasm, memory: 32MiB }}\n    \
                 destination: {{ stdout: {{}} }}\n"
            )
        };
        std::fs::write(folder.path().join("m.wasm"), b"\0asm").expect("written");
        for (streams, cores, all, for_others) in [
            (&["a"][..], 2, 64, 0),
            (&["a", "b"], 2, 96, 32),
            (&["a", "b"], 64, 128, 32),
        ] {
            let all_streams: String = streams.iter().map(|name| stream(name)).collect();
            let text = format!(
                "memory: 256MiB\nstreams: {{ clicks: {{}} }}\ndelivery_streams:\n{all_streams}"
            );
            std::fs::write(&path, text).expect("written");
            let config = config::load(&path).expect("a good configuration");
            let guests = guests(&config, cores, config.memory.as_usize() / 2);
            assert_eq!(
                (guests.all >> 20, guests.for_others >> 20),
                (all, for_others)
            );
        }
    }

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
