//! Makes a module ready to run: takes nothing but a component of our world, and says what is
//! wrong with anything else.

use wasmtime::StoreContextMut;
use wasmtime::component::{Component, Linker, WasmStr};

use super::bindings::{CONTRACT, LOG, Level, TYPES, TransformPre};
use super::engine::WasmEngine;
use super::limits::{MODULE_MAX_BYTES, State, write_log};
use crate::Error;

const MAGIC: &[u8] = b"\0asm";
/// Version and layer of a core module and of a component.
const CORE: &[u8] = &[1, 0, 0, 0];
const COMPONENT: &[u8] = &[13, 0, 1, 0];
/// So many imports are named where one would do.
const NAMED_MAX: usize = 5;

/// Compiles a module. Takes 0.1 s of CPU for a small one and 15 s for the largest runtimes.
pub(super) fn prepare(engine: &WasmEngine, module: &[u8]) -> Result<TransformPre<State>, Error> {
    let wrong = |what: String| Err(Error::Module(what));
    if module.len() > MODULE_MAX_BYTES {
        return wrong(format!(
            "is {} bytes, limit {MODULE_MAX_BYTES}: strip it of debug information and names",
            module.len()
        ));
    }
    match (module.get(..4), module.get(4..8)) {
        (Some(MAGIC), Some(COMPONENT)) => {}
        (Some(MAGIC), Some(CORE)) => {
            return wrong(format!(
                "is a core module, not a component: make a component of {CONTRACT} of it, for \
                 example with `jco new` or `wasm-tools component new`"
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
    let component = Component::from_binary(engine.raw(), module).map_err(|e| {
        Error::Module(format!(
            "is corrupted, or uses what is switched off here: {e:#}"
        ))
    })?;
    check_imports(engine, &component)?;
    let mut linker = Linker::new(engine.raw());
    linker
        .instance(LOG)
        .and_then(|mut log| log.func_wrap("log", log_line))
        .map_err(|e| Error::Engine(format!("{e:#}")))?;
    let mismatch = |e: wasmtime::Error| {
        Error::Module(format!(
            "does not fit {CONTRACT}: {e:#}; build it again with this version's WIT file"
        ))
    };
    TransformPre::new(linker.instantiate_pre(&component).map_err(mismatch)?).map_err(mismatch)
}

fn log_line(
    store: StoreContextMut<'_, State>,
    (level, message): (Level, WasmStr),
) -> wasmtime::Result<()> {
    write_log(store, level, &message)
}

fn check_imports(engine: &WasmEngine, component: &Component) -> Result<(), Error> {
    let kind = component.component_type();
    let foreign: Vec<String> = kind
        .imports(engine.raw())
        .map(|(name, _)| name)
        .filter(|name| ![LOG, TYPES].contains(name))
        .map(|name| format!("`{name}`"))
        .collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let more = match foreign.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let named: Vec<String> = foreign.into_iter().take(NAMED_MAX).collect();
    Err(Error::Module(format!(
        "imports {}{more}, but a transform gets nothing except `{LOG}`: build it without WASI \
         (Rust: for wasm32-unknown-unknown), files, clocks and random numbers",
        named.join(", ")
    )))
}
