//! A loaded transform: the stage that the pipeline sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hydrant_core::outcomes::{Outcomes, Overruns};
use hydrant_core::stage::Transform;
use hydrant_core::{Digest, Records};

use super::answer::Problem;
use super::bindings::CONTRACT;
use super::bisect::Bisect;
use super::call::Patience;
use super::engine::WasmEngine;
use super::limits::{GuestLog, Limits, TABLE_MAX_ENTRIES};
use super::module::{Ready, prepare};
use super::targets::Targets;
use crate::Error;

/// What a transform is loaded with, beside its module.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Its configuration as JSON text; empty and `null` are none.
    pub config_json: String,
    /// The delivery stream, as the guest is told.
    pub delivery_stream: String,
    /// Limits of a call.
    pub limits: Limits,
    /// Whether its outputs may name targets.
    pub targets: Targets,
    /// Whether a component may import WASI: it gets an empty one, with a clock that stands still.
    pub wasi: bool,
}

impl Settings {
    /// What the guest gets: the contract says `{}` where there is no configuration.
    fn guest_config(&self) -> &str {
        match self.config_json.as_str() {
            "" | "null" => "{}",
            json => json,
        }
    }
}

/// A module that was compiled: any number of transforms with their configurations share it.
#[derive(Clone)]
pub struct Compiled {
    engine: WasmEngine,
    ready: Ready,
    name: Digest,
}

impl Compiled {
    /// Compiles a module: up to seconds of CPU, so keep it off the async threads. With `wasi` a
    /// component may import WASI: it gets an empty one, with a clock that stands still.
    ///
    /// # Errors
    /// With what is wrong with the module.
    pub fn new(engine: &WasmEngine, module: &[u8], wasi: bool) -> Result<Self, Error> {
        Ok(Self {
            engine: engine.clone(),
            ready: prepare(engine, module, wasi)?,
            name: Digest::of(module),
        })
    }
}

/// A component of the world `hydrant:transform`, compiled, with its configuration. Calls share
/// nothing: each has an instance of its own.
pub struct WasmTransform {
    pub(super) engine: WasmEngine,
    pub(super) ready: Ready,
    pub(super) config: String,
    pub(super) delivery_stream: String,
    pub(super) limits: Limits,
    pub(super) targets: Targets,
    pub(super) log: GuestLog,
    /// The module's digest in hex: names the culprit in failures.
    pub(super) module: String,
    /// The most linear memory that a call has taken, in bytes.
    pub(super) peak_memory: AtomicUsize,
    digest: Digest,
}

impl WasmTransform {
    /// Compiles a module (up to seconds of CPU: keep it off the async threads) and lets it read
    /// its configuration once.
    ///
    /// # Errors
    /// With what is wrong with the module, or the guest's own words on its configuration.
    pub fn load(
        engine: &WasmEngine,
        module: &[u8],
        settings: &Settings,
        log: GuestLog,
    ) -> Result<Arc<Self>, Error> {
        Self::configure(Compiled::new(engine, module, settings.wasi)?, settings, log)
    }

    /// Lets a compiled module read its configuration once.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn configure(
        compiled: Compiled,
        settings: &Settings,
        log: GuestLog,
    ) -> Result<Arc<Self>, Error> {
        let Compiled {
            engine,
            ready,
            name,
        } = compiled;
        let config = settings.guest_config();
        let transform = Self {
            engine,
            ready,
            peak_memory: AtomicUsize::new(0),
            config: config.to_owned(),
            delivery_stream: settings.delivery_stream.clone(),
            limits: settings.limits,
            targets: settings.targets,
            log,
            module: name.to_hex(),
            digest: digest(&name, config, settings),
        };
        transform.try_configure()?;
        Ok(Arc::new(transform))
    }

    /// The module's digest in hex, as failures name it.
    pub fn module_digest(&self) -> &str {
        &self.module
    }

    /// The most linear memory that a call has taken since this was last asked, in bytes.
    pub fn take_peak_memory(&self) -> usize {
        self.peak_memory.swap(0, Ordering::Relaxed)
    }

    fn try_configure(&self) -> Result<(), Error> {
        let limit = self.limits.time;
        let mut store = self.store(Patience::Limited(limit), self.limits.output_limit(0));
        let wrong = |what: String| Error::Module(format!("cannot be started: {what}"));
        let configured = match &self.ready {
            Ready::Component(pre) => self.instance(pre, &mut store).map(drop),
            Ready::Command(command) => self.configure_command(command, &mut store),
        };
        configured.map_err(|problem| match problem {
            Problem::Refused(text) => Error::Config(text),
            Problem::Trapped(reason) => wrong(format!("it trapped: {reason}")),
            Problem::TimedOut => wrong(format!("it took longer than the limit of {limit:?}")),
            Problem::MemoryLimit => wrong(format!(
                "it needs more memory than the limit of {} bytes",
                self.limits.memory_bytes
            )),
            Problem::TableLimit => wrong(format!(
                "it needs a table of more than {TABLE_MAX_ENTRIES} entries"
            )),
            Problem::OutputLimit => wrong("its answer to `configure` is too long".to_owned()),
            Problem::InvalidOutput(reason) => wrong(reason),
            Problem::Host(reason) => Error::Engine(reason),
        })
    }
}

/// # Panics
/// `apply` does where this machine cannot run the guest, for want of memory say, after some tries:
/// that is no verdict on records. The caller does the batch again later.
impl Transform for WasmTransform {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn apply(&self, batch: &Records, overruns: Overruns<'_>) -> Outcomes {
        Bisect::new(self, batch, overruns).run()
    }
}

/// Raised when what the host decides changes: how a batch is halved, the limits that are constants.
const RULES: &[u8] = b"rules 2";

/// Everything that decides outputs. Not the limit of time: its verdicts are recorded.
fn digest(module: &Digest, config: &str, settings: &Settings) -> Digest {
    let limits = &settings.limits;
    Digest::of_parts(&[
        CONTRACT.as_bytes(),
        RULES,
        module.as_bytes(),
        config.as_bytes(),
        settings.delivery_stream.as_bytes(),
        &(limits.memory_bytes as u64).to_le_bytes(),
        &(limits.output_bytes as u64).to_le_bytes(),
        &[u8::from(settings.targets == Targets::Passed)],
    ])
}
