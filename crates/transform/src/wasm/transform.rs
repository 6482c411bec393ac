//! A loaded transform: the stage that the pipeline sees.

use std::sync::Arc;

use hydrant_core::outcomes::{Outcomes, Overruns};
use hydrant_core::stage::{Blocked, Transform};
use hydrant_core::{Digest, Records};

use super::answer::Problem;
use super::bindings::CONTRACT;
use super::bisect::Bisect;
use super::call::Patience;
use super::engine::WasmEngine;
use super::idle::Idle;
use super::limits::{GuestLog, Limits, TABLE_MAX_ENTRIES};
use super::module::{Ready, prepare};
use super::tally::Tally;
use super::targets::Targets;
use crate::Error;

/// How long an instance lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Instances {
    /// For one call: what a call answers follows from it alone.
    #[default]
    Fresh,
    /// For many calls of its thread's turn: the user's promise that no call depends on an earlier
    /// one. What goes wrong is tried by a fresh one before it counts.
    Reuse,
}

/// What becomes of a micro-batch of which every record makes the guest trap, or pass a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTrap {
    /// Its records go to the error output.
    #[default]
    ErrorOutput,
    /// It is blocked, so that its records wait for a module that is mended.
    Pause,
}

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
    /// How long its instances live.
    pub instances: Instances,
    /// What becomes of a micro-batch that traps throughout.
    pub on_trap: OnTrap,
    /// Where its calls are counted.
    pub tally: Arc<Tally>,
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
/// nothing, as each has an instance of its own, unless the user has promised that they may.
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
    pub(super) on_trap: OnTrap,
    /// Where instances wait for their next call; `None` where each is for one.
    pub(super) idle: Option<Idle>,
    pub(super) tally: Arc<Tally>,
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
        let reuse = settings.instances == Instances::Reuse;
        if reuse && matches!(ready, Ready::Command(_)) {
            return Err(Error::Config(
                "a WASI command ends with its batch, so that its instances cannot be used again: \
                 leave out `instances: reuse`, or build a component"
                    .to_owned(),
            ));
        }
        let transform = Self {
            engine,
            ready,
            on_trap: settings.on_trap,
            idle: reuse.then(Idle::default),
            tally: settings.tally.clone(),
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

    /// What its calls did.
    pub fn tally(&self) -> &Tally {
        &self.tally
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

/// `apply` is blocked where this machine cannot run the guest, for want of memory say, after some
/// tries: that is no verdict on records. And with [`OnTrap::Pause`] where a batch traps throughout.
impl Transform for WasmTransform {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn apply(&self, batch: &Records, overruns: Overruns<'_>) -> Result<Outcomes, Blocked> {
        Bisect::new(self, batch, overruns).run()
    }
}

/// Raised when what the host decides changes: how a batch is halved, the limits that are constants.
const RULES: &[u8] = b"rules 3";

/// Everything that decides outputs. Not the limit of time: its verdicts are recorded.
fn digest(module: &Digest, config: &str, settings: &Settings) -> Digest {
    let limits = &settings.limits;
    let (memory, output) = (limits.memory_bytes as u64, limits.output_bytes as u64);
    let (memory, output) = (memory.to_le_bytes(), output.to_le_bytes());
    let targets = [u8::from(settings.targets == Targets::Passed)];
    let mut parts = vec![
        CONTRACT.as_bytes(),
        RULES,
        module.as_bytes(),
        config.as_bytes(),
        settings.delivery_stream.as_bytes(),
        &memory,
        &output,
        &targets,
    ];
    if settings.instances == Instances::Reuse {
        parts.push(b"reuse");
    }
    Digest::of_parts(&parts)
}
