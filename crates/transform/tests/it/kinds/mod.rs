//! Hostile modules and hostile records by kind, in one list: what each does, and what must come of it.
//! Whatever it is, the host stands, the error says what was wrong, and the other records of the batch
//! are delivered.

mod component;

mod calls;

mod commands;

mod modules;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hydrant_core::outcomes::Overruns;
use hydrant_core::{Position, Records, RecordsBuilder};
use hydrant_transform::{Limits, WasmTransform};

use self::component::Lines;
use crate::support::{Answers as _, HOSTILE, failures, load_limited, texts};

/// A kind of hostility.
pub(crate) struct Kind {
    name: &'static str,
    guest: Guest,
    wanted: Wanted,
}

/// Who does it.
enum Guest {
    /// The guest `hostile.wasm`, where a record is this word.
    Word(&'static str),
    /// The command `command.wasm`, where a record is this word.
    CommandWord(&'static str),
    /// A component with these lines.
    Component(Lines),
    /// A command with these lines, and these beside its functions.
    Command(&'static str, &'static str),
    /// A module that is made by hand.
    Module(fn() -> Vec<u8>),
}

/// What must come of it.
enum Wanted {
    /// The poison record fails with this code and these words; the others are delivered.
    Fails(&'static str, &'static str),
    /// The module is refused when it is loaded, with these words.
    Refused(&'static str),
    /// A limit makes it harmless: all is delivered.
    Harmless,
}

/// How long a call may take here, where it is not to end by itself: many kinds use all of it.
const TIME: Duration = Duration::from_millis(600);
/// What no kind takes, be it compiled or run, on a machine that is busy.
const AT_MOST: Duration = Duration::from_mins(1);
/// The size of the poison's data, by which `realloc` knows it.
const POISON_BYTES: usize = 4_242;

fn all() -> impl Iterator<Item = &'static Kind> {
    calls::KINDS
        .iter()
        .chain(commands::KINDS)
        .chain(modules::KINDS)
}

/// An honest component.
pub(crate) fn honest() -> Vec<u8> {
    component::component(&component::HONEST)
}

/// An honest component that logs a line whenever an instance of it is called, and traps at the poison.
pub(crate) fn logging_each_call() -> Vec<u8> {
    component::component(&Lines {
        configure: "(call $log (i32.const 1) (i32.const 0) (i32.const 1))",
        transform: "(unreachable)",
        ..component::HONEST
    })
}

impl Guest {
    fn module(&self) -> Vec<u8> {
        match self {
            Self::Word(_) => HOSTILE.to_vec(),
            Self::CommandWord(_) => include_bytes!("../command.wasm").to_vec(),
            Self::Component(lines) => component::component(lines),
            Self::Command(beside, lines) => component::command(beside, lines),
            Self::Module(make) => make(),
        }
    }

    /// Four records, the third of them the poison.
    fn batch(&self) -> Records {
        let poison = match self {
            Self::Word(word) | Self::CommandWord(word) => (*word).as_bytes().to_vec(),
            _ => vec![b'p'; POISON_BYTES],
        };
        let mut batch = RecordsBuilder::default();
        let records = [&b"a"[..], b"b", &poison, b"d"];
        for (i, data) in (0..).zip(records) {
            let key: &[u8] = if data == poison { b"!" } else { b"k" };
            batch.push(Position::from_u64(i), 1_000, key, data);
        }
        batch.build()
    }
}

impl Kind {
    fn load(&self) -> Result<Arc<WasmTransform>, String> {
        let mut limits = Limits::default();
        if self.takes_all_its_time() {
            limits.time = TIME;
        }
        let loaded = load_limited(&self.guest.module(), "{}", "clicks", limits);
        loaded.map_err(|error| error.to_string())
    }

    /// Whether it never ends by itself. Others have the time of a machine that is busy.
    fn takes_all_its_time(&self) -> bool {
        match self.wanted {
            Wanted::Fails(code, _) => code == "Transform.TimedOut",
            Wanted::Refused(words) => words.contains("longer than"),
            Wanted::Harmless => false,
        }
    }

    fn try_it(&self) {
        let began = now();
        let (name, loaded) = (self.name, self.load());
        match (&self.wanted, loaded) {
            (Wanted::Refused(words), Err(error)) => {
                assert!(error.contains("transform "), "{name}: {error}");
                assert!(error.contains(words), "{name}: {error}");
                assert!(error.len() < 2_000, "{name}: {} bytes", error.len());
            }
            (Wanted::Refused(_), Ok(_)) => panic!("{name}: was not refused"),
            (_, Err(error)) => panic!("{name}: was refused: {error}"),
            (Wanted::Fails(code, words), Ok(transform)) => {
                let outcomes = transform.apply(&self.guest.batch(), Overruns::Decide);
                assert_eq!(
                    failures(&outcomes),
                    [(2, *code)],
                    "{name}: {:?}",
                    outcomes.failures
                );
                assert_eq!(texts(&outcomes), ["a", "b", "d"], "{name}");
                let failure = &outcomes.failures[0];
                assert!(
                    failure.message.contains(words),
                    "{name}: {}",
                    failure.message
                );
                assert_eq!(failure.origin, transform.module_digest(), "{name}");
            }
            (Wanted::Harmless, Ok(transform)) => {
                let outcomes = transform.apply(&self.guest.batch(), Overruns::Decide);
                assert_eq!(failures(&outcomes), [], "{name}: {:?}", outcomes.failures);
                assert_eq!(outcomes.len(), 4, "{name}");
            }
        }
        let took = began.elapsed();
        eprintln!("{name}: {took:?}");
        assert!(took < AT_MOST, "{name} took {took:?}");
    }
}

/// Tries all of them, and names each that is not as it should be.
fn try_all(kinds: &[Kind]) {
    let fails = |kind: &&Kind| catch_unwind(AssertUnwindSafe(|| kind.try_it())).is_err();
    let failed: Vec<&str> = kinds.iter().filter(fails).map(|kind| kind.name).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[expect(clippy::disallowed_methods, reason = "real guests take real time")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn the_list_is_long_and_has_every_kind_once() {
    let names: HashSet<&str> = all().map(|kind| kind.name).collect();
    assert_eq!(names.len(), all().count(), "a name stands there twice");
    assert!(names.len() >= 80, "{}", names.len());
}

#[test]
fn what_a_component_does_in_a_call_harms_its_record_only() {
    try_all(calls::KINDS);
}

#[test]
fn what_a_command_does_harms_its_record_only() {
    try_all(commands::KINDS);
}

#[test]
fn a_module_that_cannot_be_used_is_refused_with_the_reason() {
    try_all(modules::KINDS);
}

#[test]
fn honest_ones_of_the_same_make_deliver_all() {
    for guest in [Guest::Component(component::HONEST), Guest::Command("", "")] {
        let transform = load_limited(&guest.module(), "{}", "", Limits::default()).unwrap();
        let outcomes = transform.apply(&guest.batch(), Overruns::Decide);
        assert_eq!((outcomes.len(), failures(&outcomes)), (4, vec![]));
    }
}
