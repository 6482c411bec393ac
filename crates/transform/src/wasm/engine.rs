//! The engine that all transforms of a process share: compiler settings, and the thread whose
//! ticks limit the time of calls.

use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, Engine, OptLevel, RegallocAlgorithm, WasmFeatures};

use super::backtrace::GATHERED_MAX;
use super::cache::{Cache, Code};
use super::gate::Gate;
use crate::Error;

/// Time between two ticks: the precision of time limits.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// A WebAssembly engine. One for the process: cloning shares it, and the last one dropped ends its
/// thread.
#[derive(Clone)]
pub struct WasmEngine(Arc<Inner>);

struct Inner {
    engine: Engine,
    gate: Gate,
    /// Where compiled modules are kept, once that is said.
    cache: OnceLock<Cache>,
    /// Bytes that instances between two calls may hold, and do.
    idle_limit: AtomicUsize,
    idle: AtomicUsize,
    ticker: Option<(SyncSender<()>, JoinHandle<()>)>,
}

impl WasmEngine {
    /// Starts an engine and its thread.
    ///
    /// # Errors
    /// Where this machine's processor is not supported, or no thread can be started.
    pub fn new() -> Result<Self, Error> {
        Self::start(&config())
    }

    /// Starts an engine that compiles fast and runs slower, for tests of modules. What a module
    /// answers is the same.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn for_tests() -> Result<Self, Error> {
        let mut config = config();
        config
            .cranelift_opt_level(OptLevel::None)
            .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
        Self::start(&config)
    }

    fn start(config: &Config) -> Result<Self, Error> {
        let engine = Engine::new(config).map_err(|e| Error::Engine(format!("{e:#}")))?;
        let (stop, stopped) = mpsc::sync_channel(0);
        let ticking = engine.clone();
        let thread = std::thread::Builder::new()
            .name("wasm-ticks".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    ticking.increment_epoch();
                }
            })
            .map_err(|e| Error::Engine(e.to_string()))?;
        Ok(Self(Arc::new(Inner {
            engine,
            gate: Gate::open(),
            cache: OnceLock::new(),
            idle_limit: AtomicUsize::new(usize::MAX),
            idle: AtomicUsize::new(0),
            ticker: Some((stop, thread)),
        })))
    }

    /// Lets only so many calls run at once that their memories stay within `bytes` together; one
    /// always may. More wait on their threads. One delivery stream alone leaves `for_others` of it.
    pub fn limit_memory(&self, bytes: usize, for_others: usize) {
        self.0.gate.limit(bytes, for_others);
    }

    /// Keeps compiled modules in this folder from now on, and loads from there what is kept. Whoever
    /// can write to it can make this process run anything: give it a folder of its own.
    ///
    /// # Errors
    /// Where the folder cannot be made, or is not this user's alone.
    pub fn keep_compiled_in(&self, dir: &Path) -> io::Result<()> {
        let cache = Cache::open(dir)?;
        // The first one stays.
        drop(self.0.cache.set(cache));
        Ok(())
    }

    /// Compiles a module, or loads it where it was before.
    pub(super) fn compiled<C: Code>(&self, module: &[u8]) -> wasmtime::Result<C> {
        match self.0.cache.get() {
            Some(cache) => cache.get(self.raw(), module),
            None => C::compile(self.raw(), module),
        }
    }

    /// Lets instances between two calls (`instances: reuse`) hold so many bytes together; what would
    /// be more is dropped, and made anew for its next call.
    pub fn limit_idle(&self, bytes: usize) {
        self.0.idle_limit.store(bytes, Ordering::Relaxed);
    }

    /// Room for an instance of so many bytes that waits, if there is some.
    pub(super) fn keep(&self, bytes: usize) -> Option<Kept> {
        let kept = Kept {
            engine: self.clone(),
            bytes,
        };
        let before = self.0.idle.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.0.idle_limit.load(Ordering::Relaxed);
        // Given back by its end where it is not handed out.
        fits.then_some(kept)
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.0.gate
    }

    pub(super) fn raw(&self) -> &Engine {
        &self.0.engine
    }
}

/// Room that an instance takes while it waits.
pub(super) struct Kept {
    engine: WasmEngine,
    bytes: usize,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.engine.0.idle.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.ticker.take() {
            drop(stop);
            // It cannot panic, and nothing could be done about it here.
            drop(thread.join());
        }
    }
}

/// Everything that could make two runs differ is off, NaNs have one form, and calls can be ended.
fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .wasm_backtrace_max_frames(NonZeroUsize::new(GATHERED_MAX))
        .wasm_features(WasmFeatures::THREADS, false)
        .wasm_features(WasmFeatures::RELAXED_SIMD, false)
        .wasm_features(WasmFeatures::MEMORY64, false)
        // Only with these does a growth fail that was never asked for, as the machine's would.
        .wasm_features(WasmFeatures::CUSTOM_PAGE_SIZES, false);
    config
}

/// An engine of a machine that has 4 MiB for a memory, for tests.
#[cfg(test)]
pub(super) fn cramped() -> WasmEngine {
    let mut config = config();
    config
        .memory_reservation(4 << 20)
        .memory_reservation_for_growth(0)
        .memory_may_move(false);
    WasmEngine::start(&config).expect("an engine")
}
