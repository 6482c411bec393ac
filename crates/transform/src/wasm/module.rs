//! Makes a module ready to run: takes nothing but a component of our world, and says what is
//! wrong with anything else.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use wasmparser::{Parser, Payload};
use wasmtime::StoreContextMut;
use wasmtime::component::{Component, Linker, WasmStr};

use super::bindings::{CONTRACT, LOG, Level, TYPES, TransformPre};
use super::command::Command;
use super::effort;
use super::engine::WasmEngine;
use super::limits::{MODULE_MAX_BYTES, State, write_log};
use super::wasi;
use crate::Error;

const MAGIC: &[u8] = b"\0asm";
/// Version and layer of a core module and of a component.
const CORE: &[u8] = &[1, 0, 0, 0];
const COMPONENT: &[u8] = &[13, 0, 1, 0];
/// The compiler may take so long, on a machine that is slow or busy.
const COMPILE_MAX: Duration = Duration::from_mins(5);
/// So many imports are named where one would do.
const NAMED_MAX: usize = 5;

/// A module that is ready to run.
#[derive(Clone)]
pub(super) enum Ready {
    /// A component of the contract.
    Component(TransformPre<State>),
    /// A WASI command, in stdio mode.
    Command(Command),
}

/// Compiles a module. Takes 0.1 s of CPU for a small one and 15 s for the largest runtimes.
pub(super) fn prepare(engine: &WasmEngine, module: &[u8], wasi: bool) -> Result<Ready, Error> {
    let wrong = |what: String| Err(Error::Module(what));
    if module.len() > MODULE_MAX_BYTES {
        return wrong(format!(
            "is {} bytes, limit {MODULE_MAX_BYTES}: strip it of debug information and names",
            module.len()
        ));
    }
    effort::check(module).map_err(Error::Module)?;
    let (engine, module) = (engine.clone(), module.to_vec());
    in_time(COMPILE_MAX, move || compile(&engine, &module, wasi))?
}

/// Does something on a thread of its own and waits so long for it. The compiler cannot be stopped: where
/// it takes longer the thread goes on until it is done, or the process ends, as it does at a start.
fn in_time<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (reply, answer) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("wasm-compile".to_owned());
    let started = thread.spawn(move || drop(reply.send(work())));
    started.map_err(|e| Error::Engine(e.to_string()))?;
    answer.recv_timeout(limit).map_err(|error| {
        Error::Module(match error {
            RecvTimeoutError::Timeout => format!("takes longer than {limit:?} to compile"),
            RecvTimeoutError::Disconnected => "makes the compiler fail".to_owned(),
        })
    })
}

fn compile(engine: &WasmEngine, module: &[u8], wasi: bool) -> Result<Ready, Error> {
    let wrong = |what: String| Err(Error::Module(what));
    match (module.get(..4), module.get(4..8)) {
        (Some(MAGIC), Some(COMPONENT)) => {}
        (Some(MAGIC), Some(CORE)) if is_command(module) => {
            return Command::prepare(engine, module).map(Ready::Command);
        }
        (Some(MAGIC), Some(CORE)) => {
            return wrong(format!(
                "is a core module, and neither a component nor a WASI command with `_start`: make \
                 a component of {CONTRACT} of it, for example with `jco new` or `wasm-tools \
                 component new`, or build it as a command"
            ));
        }
        (Some(MAGIC), _) => {
            return wrong("is cut short, or WebAssembly of an unknown version".to_owned());
        }
        _ => {
            return wrong(format!(
                "is not WebAssembly: give a component of {CONTRACT}"
            ));
        }
    }
    let component: Component = engine.compiled(module).map_err(|e| {
        Error::Module(format!(
            "is corrupted, or uses what is switched off here: {e:#}"
        ))
    })?;
    check_imports(engine, &component, wasi)?;
    let mut linker = Linker::new(engine.raw());
    let done = linker
        .instance(LOG)
        .and_then(|mut log| log.func_wrap("log", log_line))
        .and_then(|()| {
            if wasi {
                wasi::link(&mut linker, &component)?;
            }
            Ok(())
        });
    done.map_err(|e| Error::Engine(format!("{e:#}")))?;
    let mismatch = |e: wasmtime::Error| {
        Error::Module(format!(
            "does not fit {CONTRACT}: {e:#}; build it again with this version's WIT file"
        ))
    };
    let pre = linker.instantiate_pre(&component).map_err(mismatch)?;
    TransformPre::new(pre)
        .map(Ready::Component)
        .map_err(mismatch)
}

/// Whether a core module exports `_start`.
fn is_command(module: &[u8]) -> bool {
    let exports = Parser::new(0)
        .parse_all(module)
        .filter_map(|payload| match payload {
            Ok(Payload::ExportSection(exports)) => Some(exports),
            _ => None,
        });
    exports
        .flatten()
        .any(|export| export.is_ok_and(|export| export.name == "_start"))
}

fn log_line(
    store: StoreContextMut<'_, State>,
    (level, message): (Level, WasmStr),
) -> wasmtime::Result<()> {
    write_log(store, level, &message)
}

fn check_imports(engine: &WasmEngine, component: &Component, wasi: bool) -> Result<(), Error> {
    let kind = component.component_type();
    let foreign: Vec<String> = kind
        .imports(engine.raw())
        .map(|(name, _)| name)
        .filter(|name| !([LOG, TYPES].contains(name) || wasi && wasi::is_wasi(name)))
        .map(|name| format!("`{name}`"))
        .collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let old = foreign
        .iter()
        .any(|name| name.contains("hydrant:transform/"));
    let advice = if old {
        "it was built for another version of the contract: build it again with this version's WIT \
         file"
    } else {
        "build it without WASI (Rust: for wasm32-unknown-unknown), files, clocks and random \
         numbers; a language whose runtime needs WASI, as Python's, gets an empty one with \
         `wasi: true`"
    };
    let more = match foreign.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let named: Vec<String> = foreign.into_iter().take(NAMED_MAX).collect();
    Err(Error::Module(format!(
        "imports {}{more}, but a transform gets nothing except `{LOG}`: {advice}",
        named.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::in_time;

    #[test]
    fn what_takes_too_long_or_fails_is_an_error() {
        let long = Duration::from_mins(1);
        assert_eq!(in_time(long, || 7).ok(), Some(7));
        let failed = in_time(long, || panic!("as the test wants")).map(|(): ()| ());
        let text = failed.expect_err("it panicked").to_string();
        assert_eq!(text, "transform module makes the compiler fail");
        let (end, ended) = std::sync::mpsc::sync_channel::<()>(0);
        let late = in_time(Duration::from_millis(10), move || ended.recv().is_ok());
        let text = late.expect_err("it is not done").to_string();
        assert_eq!(text, "transform module takes longer than 10ms to compile");
        drop(end);
    }
}
