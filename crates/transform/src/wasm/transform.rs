//! A loaded transform: the stage that the pipeline sees.

use std::sync::Arc;

use hydrant_core::outcomes::{Outcomes, Overruns};
use hydrant_core::stage::Transform;
use hydrant_core::{Digest, Records};

use super::bindings::{CONTRACT, TransformPre};
use super::bisect::Bisect;
use super::call::{Patience, Problem};
use super::engine::WasmEngine;
use super::limits::{GuestLog, Limits, State};
use super::module::prepare;
use crate::Error;

/// A component of the world `hydrant:transform`, compiled, with its configuration. Calls share
/// nothing: each has an instance of its own.
pub struct WasmTransform {
    pub(super) engine: WasmEngine,
    pub(super) pre: TransformPre<State>,
    pub(super) config: String,
    pub(super) source: String,
    pub(super) limits: Limits,
    pub(super) log: GuestLog,
    /// The module's digest in hex: names the culprit in failures.
    pub(super) module: String,
    digest: Digest,
}

impl WasmTransform {
    /// Compiles a module (up to seconds of CPU: keep it off the async threads) and lets it read
    /// its configuration once. `source` is what the guest is told of where records come from.
    ///
    /// # Errors
    /// With what is wrong with the module, or the guest's own words on its configuration.
    pub fn load(
        engine: &WasmEngine,
        module: &[u8],
        config_json: &str,
        source: &str,
        limits: Limits,
        log: GuestLog,
    ) -> Result<Arc<Self>, Error> {
        let pre = prepare(engine, module)?;
        let name = Digest::of(module);
        let transform = Self {
            engine: engine.clone(),
            pre,
            config: config_json.to_owned(),
            source: source.to_owned(),
            limits,
            log,
            module: name.to_hex(),
            digest: digest(&name, config_json, source, &limits),
        };
        transform.try_configure()?;
        Ok(Arc::new(transform))
    }

    /// The module's digest in hex, as failures name it.
    pub fn module_digest(&self) -> &str {
        &self.module
    }

    fn try_configure(&self) -> Result<(), Error> {
        let limit = self.limits.time;
        let mut store = self.store(Patience::Limited(limit), self.limits.output_limit(0));
        let wrong = |what: String| Error::Module(format!("cannot be started: {what}"));
        self.instance(&mut store)
            .map(drop)
            .map_err(|problem| match problem {
                Problem::Refused(text) => Error::Config(text),
                Problem::Trapped(reason) => wrong(format!("it trapped: {reason}")),
                Problem::TimedOut => wrong(format!("it took longer than the limit of {limit:?}")),
                Problem::MemoryLimit => wrong(format!(
                    "it needs more memory than the limit of {} bytes",
                    self.limits.memory_bytes
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
const RULES: &[u8] = b"rules 1";

/// Everything that decides outputs. Not the limit of time: its verdicts are recorded.
fn digest(module: &Digest, config: &str, source: &str, limits: &Limits) -> Digest {
    Digest::of_parts(&[
        CONTRACT.as_bytes(),
        RULES,
        module.as_bytes(),
        config.as_bytes(),
        source.as_bytes(),
        &(limits.memory_bytes as u64).to_le_bytes(),
        &(limits.output_bytes as u64).to_le_bytes(),
    ])
}
