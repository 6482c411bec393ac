//! WASI preview 1 for a command: arguments, standard streams, a clock that stands still and random
//! numbers that follow from the batch. Any other function of it answers that it is not supported.

use wasmtime::{Caller, Extern, Linker, Memory, Module, Val};

use super::super::limits::State;
use super::super::world::STDERR_MAX_BYTES;
use super::{Exit, PREVIEW1, Process};

/// Errors of preview 1, by their numbers.
const SUCCESS: i32 = 0;
const BADF: i32 = 8;
const FAULT: i32 = 21;
const INVAL: i32 = 28;
const NOSYS: i32 = 52;

/// Standard streams are character devices.
const CHARACTER_DEVICE: u8 = 2;
/// `fd_read` and `fd_write`.
const RIGHTS: u64 = (1 << 1) | (1 << 6);
/// Parts that one read or write may have.
const PARTS_MAX: u32 = 1024;
/// Subscriptions of one `poll_oneoff`, and their sizes.
const POLLS_MAX: u32 = 64;
const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;
/// Random bytes that one call may ask for.
const RANDOM_MAX_BYTES: u32 = 1 << 20;

type Guest<'a> = Caller<'a, State>;
/// The number of an error, or that the guest goes on.
type Answer = Result<(), i32>;

/// Gives a command what it imports.
pub(super) fn link(linker: &mut Linker<State>, module: &Module) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    for import in module.imports() {
        let name = import.name();
        if let Some(function) = import.ty().func() {
            linker.func_new(PREVIEW1, name, function.clone(), |_, _, results| {
                if let Some(result) = results.first_mut() {
                    *result = Val::I32(NOSYS);
                }
                Ok(())
            })?;
        }
    }
    strings(linker)?;
    streams(linker)?;
    world(linker)?;
    linker.func_wrap(PREVIEW1, "sched_yield", || SUCCESS)?;
    linker.func_wrap(PREVIEW1, "proc_exit", |code: i32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(Exit(code)))
    })?;
    Ok(())
}

fn code(answer: Answer) -> i32 {
    answer.err().unwrap_or(SUCCESS)
}

/// Arguments and environment.
fn strings(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Texts = fn(&Process) -> &[String];
    let lists: [(&str, &str, Texts); 2] = [
        ("args_sizes_get", "args_get", |process| &process.arguments),
        ("environ_sizes_get", "environ_get", |process| {
            &process.environment
        }),
    ];
    for (asks_sizes, asks_texts, texts) in lists {
        linker.func_wrap(
            PREVIEW1,
            asks_sizes,
            move |mut guest: Guest<'_>, count: u32, bytes: u32| {
                let list = texts(&guest.data().process).to_vec();
                code(sizes(&mut guest, &list, count, bytes))
            },
        )?;
        linker.func_wrap(
            PREVIEW1,
            asks_texts,
            move |mut guest: Guest<'_>, places: u32, at: u32| {
                let list = texts(&guest.data().process).to_vec();
                code(texts_of(&mut guest, &list, places, at))
            },
        )?;
    }
    Ok(())
}

/// Standard input, output and error: 0, 1 and 2.
fn streams(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        PREVIEW1,
        "fd_read",
        |mut guest: Guest<'_>, fd: i32, parts: u32, count: u32, done: u32| {
            code(read(&mut guest, fd, parts, count, done))
        },
    )?;
    linker.func_wrap(
        PREVIEW1,
        "fd_write",
        |mut guest: Guest<'_>, fd: i32, parts: u32, count: u32, done: u32| {
            let answer = write(&mut guest, fd, parts, count, done);
            wasmtime::ensure!(!guest.data().process.flooded, "it answers with too much");
            Ok(code(answer))
        },
    )?;
    linker.func_wrap(
        PREVIEW1,
        "fd_fdstat_get",
        |mut guest: Guest<'_>, fd: i32, at: u32| code(fdstat(&mut guest, fd, at)),
    )?;
    // There are no folders: whoever asks for the first one ends there.
    linker.func_wrap(PREVIEW1, "fd_prestat_get", |_: i32, _: u32| BADF)?;
    linker.func_wrap(PREVIEW1, "fd_fdstat_set_flags", |fd: i32, _: i32| {
        if is_stream(fd) { SUCCESS } else { BADF }
    })?;
    linker.func_wrap(PREVIEW1, "fd_close", |fd: i32| {
        if is_stream(fd) { SUCCESS } else { BADF }
    })?;
    Ok(())
}

fn world(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        PREVIEW1,
        "clock_time_get",
        |mut guest: Guest<'_>, clock: i32, _precision: u64, at: u32| {
            let world = &guest.data().world;
            let now = if clock == 0 {
                world.wall_ns()
            } else {
                world.monotonic_ns()
            };
            code(store(&mut guest, at, &now.to_le_bytes()))
        },
    )?;
    linker.func_wrap(
        PREVIEW1,
        "clock_res_get",
        |mut guest: Guest<'_>, _: i32, at: u32| code(store(&mut guest, at, &1_u64.to_le_bytes())),
    )?;
    linker.func_wrap(
        PREVIEW1,
        "random_get",
        |mut guest: Guest<'_>, at: u32, count: u32| {
            if count > RANDOM_MAX_BYTES {
                return INVAL;
            }
            let mut bytes = vec![0; count as usize];
            guest.data_mut().world.fill(&mut bytes);
            code(store(&mut guest, at, &bytes))
        },
    )?;
    linker.func_wrap(
        PREVIEW1,
        "poll_oneoff",
        |mut guest: Guest<'_>, asked: u32, events: u32, count: u32, done: u32| {
            code(poll(&mut guest, asked, events, count, done))
        },
    )?;
    Ok(())
}

fn is_stream(fd: i32) -> bool {
    (0..3).contains(&fd)
}

fn memory(guest: &mut Guest<'_>) -> Result<Memory, i32> {
    guest
        .get_export("memory")
        .and_then(Extern::into_memory)
        .ok_or(FAULT)
}

/// Writes into the guest's memory; outside of it is the guest's fault.
fn store(guest: &mut Guest<'_>, at: u32, bytes: &[u8]) -> Answer {
    let memory = memory(guest)?;
    memory.write(guest, at as usize, bytes).map_err(|_| FAULT)
}

fn load<const N: usize>(guest: &mut Guest<'_>, at: u32) -> Result<[u8; N], i32> {
    let mut bytes = [0; N];
    let memory = memory(guest)?;
    memory
        .read(guest, at as usize, &mut bytes)
        .map_err(|_| FAULT)?;
    Ok(bytes)
}

fn load_u32(guest: &mut Guest<'_>, at: u32) -> Result<u32, i32> {
    Ok(u32::from_le_bytes(load(guest, at)?))
}

fn offset(at: u32, by: u32) -> Result<u32, i32> {
    at.checked_add(by).ok_or(FAULT)
}

fn size(length: usize) -> Result<u32, i32> {
    u32::try_from(length).map_err(|_| INVAL)
}

fn sizes(guest: &mut Guest<'_>, list: &[String], count: u32, bytes: u32) -> Answer {
    let total: usize = list.iter().map(|text| text.len() + 1).sum();
    store(guest, count, &size(list.len())?.to_le_bytes())?;
    store(guest, bytes, &size(total)?.to_le_bytes())
}

fn texts_of(guest: &mut Guest<'_>, list: &[String], places: u32, texts: u32) -> Answer {
    let (mut place, mut at) = (places, texts);
    for text in list {
        store(guest, place, &at.to_le_bytes())?;
        let mut bytes = text.clone().into_bytes();
        bytes.push(0);
        store(guest, at, &bytes)?;
        place = offset(place, 4)?;
        at = offset(at, size(bytes.len())?)?;
    }
    Ok(())
}

/// The parts of a read or write: places and lengths in the guest's memory.
fn parts(guest: &mut Guest<'_>, at: u32, count: u32) -> Result<Vec<(u32, u32)>, i32> {
    if count > PARTS_MAX {
        return Err(INVAL);
    }
    (0..count)
        .map(|i| {
            let at = offset(at, i * 8)?;
            Ok((load_u32(guest, at)?, load_u32(guest, offset(at, 4)?)?))
        })
        .collect()
}

fn read(guest: &mut Guest<'_>, fd: i32, at: u32, count: u32, done: u32) -> Answer {
    if fd != 0 {
        return Err(BADF);
    }
    let mut total = 0;
    for (place, length) in parts(guest, at, count)? {
        let memory = memory(guest)?;
        let (bytes, state) = memory.data_and_store_mut(&mut *guest);
        let process = &mut state.process;
        let left = process.stdin.get(process.stdin_at..).unwrap_or_default();
        let taken = left.len().min(length as usize);
        let into = bytes
            .get_mut(place as usize..)
            .and_then(|bytes| bytes.get_mut(..taken))
            .ok_or(FAULT)?;
        into.copy_from_slice(&left[..taken]);
        process.stdin_at += taken;
        total += taken;
    }
    store(guest, done, &size(total)?.to_le_bytes())
}

fn write(guest: &mut Guest<'_>, fd: i32, at: u32, count: u32, done: u32) -> Answer {
    if fd != 1 && fd != 2 {
        return Err(BADF);
    }
    let mut total = 0;
    let parts = parts(guest, at, count)?;
    // Of an error only the end is kept, so that many parts cost no more than one.
    let whole: usize = parts.iter().map(|(_, length)| *length as usize).sum();
    let mut skipped = whole.saturating_sub(STDERR_MAX_BYTES);
    for (place, length) in parts {
        let memory = memory(guest)?;
        let (bytes, state) = memory.data_and_store_mut(&mut *guest);
        let written = bytes
            .get(place as usize..)
            .and_then(|bytes| bytes.get(..length as usize))
            .ok_or(FAULT)?;
        if fd == 2 {
            let from = skipped.min(written.len());
            skipped -= from;
            state.world.write_stderr(&written[from..]);
        } else {
            let process = &mut state.process;
            if process.stdout.len() + written.len() > process.stdout_max {
                process.flooded = true;
                return Err(INVAL);
            }
            process.stdout.extend_from_slice(written);
        }
        total += written.len();
    }
    store(guest, done, &size(total)?.to_le_bytes())
}

fn fdstat(guest: &mut Guest<'_>, fd: i32, at: u32) -> Answer {
    if !is_stream(fd) {
        return Err(BADF);
    }
    let mut stat = [0; 24];
    stat[0] = CHARACTER_DEVICE;
    stat[8..16].copy_from_slice(&RIGHTS.to_le_bytes());
    store(guest, at, &stat)
}

/// Everything that is waited for has happened: streams are ready, and time has passed.
fn poll(guest: &mut Guest<'_>, asked: u32, events: u32, count: u32, done: u32) -> Answer {
    if count == 0 || count > POLLS_MAX {
        return Err(INVAL);
    }
    for i in 0..count {
        let from = offset(asked, i * SUBSCRIPTION_BYTES)?;
        let one: [u8; SUBSCRIPTION_BYTES as usize] = load(guest, from)?;
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&one[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        // userdata, then the kind, then of a clock: which, until when, precision, flags.
        let kind = one[8];
        if kind == 0 {
            let (timeout, absolute) = (number(24), one[40] & 1 == 1);
            let is_wall = one[16] == 0;
            let world = &mut guest.data_mut().world;
            let now = if is_wall {
                world.wall_ns()
            } else {
                world.monotonic_ns()
            };
            let wait = if absolute {
                timeout.saturating_sub(now)
            } else {
                timeout
            };
            world.slept_ns = world.slept_ns.saturating_add(wait);
        }
        let mut event = [0; EVENT_BYTES as usize];
        event[..8].copy_from_slice(&one[..8]);
        event[10] = kind;
        store(guest, offset(events, i * EVENT_BYTES)?, &event)?;
    }
    store(guest, done, &count.to_le_bytes())
}
