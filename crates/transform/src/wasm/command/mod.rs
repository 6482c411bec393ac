//! Stdio mode: a WASI command (a core module with `_start`) that reads a batch as lines of JSON and
//! answers with lines of JSON. For languages whose tools make no components yet, Go and C among them.

mod lines;

mod keys;

#[cfg(any(test, fuzzing))]
mod fuzzing;

mod preview1;

use wasmtime::{ExternType, Instance, InstancePre, Linker, Module, Store};

pub(super) use self::lines::{input, outcomes};
use super::engine::WasmEngine;
use super::limits::State;
use crate::Error;

/// The interface that a command may import.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// What a command has of its call, beside the world: its arguments, its input, and what it wrote.
#[derive(Default)]
pub(super) struct Process {
    /// Name and configuration.
    pub(super) arguments: Vec<String>,
    /// `HYDRANT_DELIVERY_STREAM=...`.
    pub(super) environment: Vec<String>,
    pub(super) stdin: Vec<u8>,
    pub(super) stdin_at: usize,
    pub(super) stdout: Vec<u8>,
    pub(super) stdout_max: usize,
    /// It wrote more than that.
    pub(super) flooded: bool,
}

/// The end of a command by its own will.
#[derive(Debug, thiserror::Error)]
#[error("it ended with exit code {0}")]
pub(super) struct Exit(pub(super) i32);

impl Exit {
    /// Whether a command ended here as it should.
    pub(super) fn is_success(error: &wasmtime::Error) -> bool {
        matches!(error.downcast_ref(), Some(Self(0)))
    }
}

/// A command ready to be started.
#[derive(Clone)]
pub(super) struct Command(InstancePre<State>);

impl Command {
    /// Compiles a command.
    pub(super) fn prepare(engine: &WasmEngine, bytes: &[u8]) -> Result<Self, Error> {
        let module: Module = engine.compiled(bytes).map_err(|e| {
            Error::Module(format!(
                "is corrupted, or uses what is switched off here: {e:#}"
            ))
        })?;
        check(&module)?;
        let mut linker = Linker::new(engine.raw());
        preview1::link(&mut linker, &module).map_err(|e| Error::Engine(format!("{e:#}")))?;
        let pre = linker.instantiate_pre(&module);
        pre.map(Self)
            .map_err(|e| Error::Module(format!("does not fit {PREVIEW1}: {e:#}")))
    }

    /// Makes an instance, which has not run yet.
    pub(super) fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Instance> {
        self.0.instantiate(store)
    }

    /// Runs an instance to its end. An exit code other than 0 is an error, as a trap is.
    pub(super) fn run(instance: &Instance, store: &mut Store<State>) -> wasmtime::Result<()> {
        let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
        match start.call(&mut *store, ()) {
            Err(error) if Exit::is_success(&error) => Ok(()),
            done => done,
        }
    }
}

fn check(module: &Module) -> Result<(), Error> {
    let foreign = module.imports().find(|import| import.module() != PREVIEW1);
    if let Some(import) = foreign {
        return Err(Error::Module(format!(
            "imports `{}.{}`, but a command in stdio mode gets nothing except `{PREVIEW1}`: build \
             it for WASI preview 1",
            import.module(),
            import.name()
        )));
    }
    let wrong = |what| {
        let text = format!("{what}: build it as a WASI command");
        Err(Error::Module(text))
    };
    let Some(ExternType::Memory(_)) = module.get_export("memory") else {
        return wrong("exports no `memory`");
    };
    match module.get_export("_start") {
        Some(ExternType::Func(start)) if start.params().len() + start.results().len() == 0 => {
            Ok(())
        }
        _ => wrong("exports a `_start` that is no function of nothing"),
    }
}
