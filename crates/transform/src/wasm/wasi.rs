//! The part of WASI 0.2 that a component may have where the configuration says `wasi: true`:
//! language runtimes such as Python's want it to be there. No files, no network, no environment;
//! the clock stands still and random numbers follow from the batch (`world`). What is not
//! here traps when it is called, and says its name.

use wasmtime::StoreContextMut;
use wasmtime::component::{
    Component, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType,
};

use super::limits::State;
use super::world::MONOTONIC_START_NS;

/// Random bytes that one call may ask for.
const RANDOM_MAX_BYTES: u64 = 1 << 20;
/// Bytes that a guest may write to a stream at once.
const WRITE_MAX_BYTES: u64 = 64 << 10;
/// All that handles of a kind stand for is the same.
const HANDLE: u32 = 0;

type Handle = Resource<()>;

/// `wasi:io/streams.stream-error`.
#[derive(ComponentType, Lower, Lift)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Handle),
    #[component(name = "closed")]
    Closed,
}

/// `wasi:clocks/wall-clock.datetime`.
#[derive(ComponentType, Lower, Lift)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// Whether this import is a part of WASI 0.2.
pub(super) fn is_wasi(import: &str) -> bool {
    import.starts_with("wasi:") && import.contains("@0.2.")
}

/// Gives a component the WASI that it imports.
pub(super) fn link(linker: &mut Linker<State>, component: &Component) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    let kind = component.component_type();
    let names: Vec<String> = kind
        .imports(&engine)
        .map(|(name, _)| name.to_owned())
        .filter(|name| is_wasi(name))
        .collect();
    for name in names {
        let mut instance = linker.instance(&name)?;
        match name.split('@').next().unwrap_or_default() {
            "wasi:io/poll" => poll(&mut instance)?,
            "wasi:io/streams" => streams(&mut instance)?,
            "wasi:clocks/monotonic-clock" => monotonic_clock(&mut instance)?,
            "wasi:clocks/wall-clock" => wall_clock(&mut instance)?,
            "wasi:random/random" => random(&mut instance)?,
            "wasi:random/insecure" => insecure(&mut instance)?,
            "wasi:random/insecure-seed" => insecure_seed(&mut instance)?,
            "wasi:cli/environment" => environment(&mut instance)?,
            "wasi:cli/stdin" => handle(&mut instance, "get-stdin")?,
            "wasi:cli/stdout" => handle(&mut instance, "get-stdout")?,
            "wasi:cli/stderr" => handle(&mut instance, "get-stderr")?,
            "wasi:cli/terminal-stdin" => none(&mut instance, "get-terminal-stdin")?,
            "wasi:cli/terminal-stdout" => none(&mut instance, "get-terminal-stdout")?,
            "wasi:cli/terminal-stderr" => none(&mut instance, "get-terminal-stderr")?,
            "wasi:filesystem/preopens" => preopens(&mut instance)?,
            _ => {}
        }
    }
    linker.define_unknown_imports_as_traps(component)
}

type Instance<'a> = LinkerInstance<'a, State>;
type Done = wasmtime::Result<()>;

fn handle(instance: &mut Instance<'_>, name: &str) -> Done {
    instance.func_wrap(name, |_, (): ()| Ok((Handle::new_own(HANDLE),)))
}

fn none(instance: &mut Instance<'_>, name: &str) -> Done {
    instance.func_wrap(name, |_, (): ()| Ok((None::<Handle>,)))
}

fn preopens(instance: &mut Instance<'_>) -> Done {
    instance.func_wrap("get-directories", |_, (): ()| {
        Ok((Vec::<(Handle, String)>::new(),))
    })
}

fn environment(instance: &mut Instance<'_>) -> Done {
    instance.func_wrap("get-environment", |_, (): ()| {
        Ok((Vec::<(String, String)>::new(),))
    })?;
    instance.func_wrap("get-arguments", |_, (): ()| Ok((Vec::<String>::new(),)))?;
    instance.func_wrap("initial-cwd", |_, (): ()| Ok((None::<String>,)))
}

fn wall_clock(instance: &mut Instance<'_>) -> Done {
    let datetime = |ns: u64| Datetime {
        seconds: ns / 1_000_000_000,
        nanoseconds: u32::try_from(ns % 1_000_000_000).unwrap_or(0),
    };
    instance.func_wrap("now", move |store: StoreContextMut<'_, State>, (): ()| {
        Ok((datetime(store.data().world.wall_ns()),))
    })?;
    instance.func_wrap("resolution", move |_, (): ()| Ok((datetime(1),)))
}

fn monotonic_clock(instance: &mut Instance<'_>) -> Done {
    instance.func_wrap("now", |store: StoreContextMut<'_, State>, (): ()| {
        Ok((store.data().world.monotonic_ns(),))
    })?;
    instance.func_wrap("resolution", |_, (): ()| Ok((1_u64,)))?;
    // Whoever waits for a moment has slept until then.
    instance.func_wrap(
        "subscribe-instant",
        |mut store: StoreContextMut<'_, State>, (when,): (u64,)| {
            let world = &mut store.data_mut().world;
            world.slept_ns = world.slept_ns.max(when.saturating_sub(MONOTONIC_START_NS));
            Ok((Handle::new_own(HANDLE),))
        },
    )?;
    instance.func_wrap(
        "subscribe-duration",
        |mut store: StoreContextMut<'_, State>, (ns,): (u64,)| {
            let world = &mut store.data_mut().world;
            world.slept_ns = world.slept_ns.saturating_add(ns);
            Ok((Handle::new_own(HANDLE),))
        },
    )
}

fn poll(instance: &mut Instance<'_>) -> Done {
    instance.resource("pollable", ResourceType::host::<()>(), |_, _| Ok(()))?;
    instance.func_wrap("[method]pollable.ready", |_, (_,): (Handle,)| Ok((true,)))?;
    instance.func_wrap("[method]pollable.block", |_, (_,): (Handle,)| Ok(()))?;
    instance.func_wrap("poll", |_, (all,): (Vec<Handle>,)| {
        let count = u32::try_from(all.len()).unwrap_or(0);
        Ok(((0..count).collect::<Vec<u32>>(),))
    })
}

fn random(instance: &mut Instance<'_>) -> Done {
    bytes(instance, "get-random-bytes")?;
    number(instance, "get-random-u64")
}

fn insecure(instance: &mut Instance<'_>) -> Done {
    bytes(instance, "get-insecure-random-bytes")?;
    number(instance, "get-insecure-random-u64")
}

fn insecure_seed(instance: &mut Instance<'_>) -> Done {
    instance.func_wrap(
        "insecure-seed",
        |mut store: StoreContextMut<'_, State>, (): ()| {
            let world = &mut store.data_mut().world;
            Ok(((world.random(), world.random()),))
        },
    )
}

fn bytes(instance: &mut Instance<'_>, name: &str) -> Done {
    instance.func_wrap(
        name,
        |mut store: StoreContextMut<'_, State>, (count,): (u64,)| {
            wasmtime::ensure!(
                count <= RANDOM_MAX_BYTES,
                "{count} random bytes are more than {RANDOM_MAX_BYTES} at once"
            );
            let mut bytes = vec![0; usize::try_from(count).unwrap_or(0)];
            store.data_mut().world.fill(&mut bytes);
            Ok((bytes,))
        },
    )
}

fn number(instance: &mut Instance<'_>, name: &str) -> Done {
    instance.func_wrap(name, |mut store: StoreContextMut<'_, State>, (): ()| {
        Ok((store.data_mut().world.random(),))
    })
}

/// Standard input is at its end; what is written to the others is logged when the call is over.
fn streams(instance: &mut Instance<'_>) -> Done {
    for name in ["input-stream", "output-stream"] {
        instance.resource(name, ResourceType::host::<()>(), |_, _| Ok(()))?;
    }
    for name in [
        "[method]input-stream.read",
        "[method]input-stream.blocking-read",
    ] {
        instance.func_wrap(name, |_, (_, _): (Handle, u64)| {
            Ok((Err::<Vec<u8>, _>(StreamError::Closed),))
        })?;
    }
    for name in [
        "[method]input-stream.subscribe",
        "[method]output-stream.subscribe",
    ] {
        instance.func_wrap(name, |_, (_,): (Handle,)| Ok((Handle::new_own(HANDLE),)))?;
    }
    instance.func_wrap("[method]output-stream.check-write", |_, (_,): (Handle,)| {
        Ok((Ok::<u64, StreamError>(WRITE_MAX_BYTES),))
    })?;
    for name in [
        "[method]output-stream.write",
        "[method]output-stream.blocking-write-and-flush",
    ] {
        instance.func_wrap(
            name,
            |mut store: StoreContextMut<'_, State>, (_, bytes): (Handle, Vec<u8>)| {
                store.data_mut().world.write_stderr(&bytes);
                Ok((Ok::<(), StreamError>(()),))
            },
        )?;
    }
    for name in [
        "[method]output-stream.flush",
        "[method]output-stream.blocking-flush",
    ] {
        instance.func_wrap(name, |_, (_,): (Handle,)| Ok((Ok::<(), StreamError>(()),)))?;
    }
    Ok(())
}
