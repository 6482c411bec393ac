//! Guests that see a world: commands in stdio mode, and components with WASI. What they see is the
//! same whenever the batch is done again.

use std::sync::Arc;
use std::time::Duration;

use hydrant_core::outcomes::Overruns;
use hydrant_transform::{GuestLevel, Limits, Settings, WasmTransform};

use crate::support::{
    Answers as _, COMMAND, ENGINE, Lines, apply, batch, failures, load, load_limited, log, result,
    texts,
};

static WASI: &[u8] = include_bytes!("wasi_guest.wasm");

fn command() -> Arc<WasmTransform> {
    load(COMMAND, "{}").unwrap()
}

fn with_wasi() -> (Arc<WasmTransform>, Lines) {
    let settings = Settings {
        wasi: true,
        ..Settings::default()
    };
    let (sink, lines) = log();
    (
        WasmTransform::load(&ENGINE, WASI, &settings, sink).unwrap(),
        lines,
    )
}

#[test]
fn a_command_gives_every_verdict() {
    let records = ["same", "drop", "many", "fail", "keys", "nothing", "world"];
    let outcomes = apply(&command(), &records);
    assert_eq!(texts(&outcomes), ["same", "a", "b", "k", "clicks - -"]);
    assert_eq!(outcomes.dropped, 1);
    assert_eq!(
        outcomes.partition_keys(3),
        [("word".to_owned(), "v".to_owned())]
    );
    let failed = [
        (3, "Transform.ProcessingFailed"),
        (5, "Transform.ProcessingFailed"),
    ];
    assert_eq!(failures(&outcomes), failed);
    assert_eq!(outcomes.failures[0].message, "because of \"it\"");
    assert!(outcomes.failures[1].message.contains("no line"));
}

#[test]
fn a_command_that_misbehaves_harms_its_record_only() {
    let transform = command();
    for (word, code, message) in [
        (
            "trap",
            "Transform.Trapped",
            "a record asked for a trap; in trap",
        ),
        (
            "alloc",
            "Transform.MemoryLimit",
            "its limit of 67108864 bytes",
        ),
        (
            "flood",
            "Transform.OutputLimit",
            "the limit of 8388608 bytes",
        ),
        ("exit", "Transform.InvalidOutput", "exit code 7: gone"),
        ("errors", "Transform.InvalidOutput", "exit code 7: the end"),
        ("garbage", "Transform.InvalidOutput", "line 1 of its answer"),
    ] {
        let outcomes = apply(&transform, &["a", "b", word, "c", "d"]);
        assert_eq!(failures(&outcomes), [(2, code)]);
        assert_eq!(texts(&outcomes), ["a", "b", "c", "d"], "{word}");
        let is = &outcomes.failures[0].message;
        assert!(is.contains(message), "{word}: {is}");
    }
    let limits = Limits {
        time: Duration::from_millis(300),
        ..Limits::default()
    };
    let hasty = load_limited(COMMAND, "{}", "", limits).unwrap();
    let outcomes = apply(&hasty, &["a", "loop"]);
    assert_eq!(failures(&outcomes), [(1, "Transform.TimedOut")]);
    assert_eq!(outcomes.overruns.len(), 2);
}

#[test]
fn a_command_refuses_its_configuration_on_standard_error() {
    for (config, words) in [
        (
            r#"{"refuse":true}"#,
            "refuses its configuration: `refuse` was asked for",
        ),
        (r#"{"trap":true}"#, "cannot be started: it trapped"),
        (r#"{"silent":true}"#, "it ended with exit code 3"),
    ] {
        let error = load(COMMAND, config).err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn the_world_of_a_command_is_the_batchs() {
    let transform = command();
    // Records arrive at 1,000 ms and later.
    let records = batch(&["clock", "random", "sleep"]);
    let outcomes = transform.apply(&records, Overruns::Decide);
    let first = texts(&outcomes);
    assert_eq!(
        (first[0].as_str(), first[2].as_str()),
        ("1.000000000", "3600")
    );
    assert_eq!(
        result(&command().apply(&records, Overruns::Decide)),
        result(&outcomes)
    );
    let later = transform.apply(&records.slice(1, 3), Overruns::Decide);
    assert_ne!(texts(&later)[0], first[1]);
}

#[test]
fn what_a_command_says_is_logged_where_the_call_goes_well() {
    let (sink, lines) = log();
    let transform = WasmTransform::load(&ENGINE, COMMAND, &Settings::default(), sink).unwrap();
    apply(&transform, &["stderr"]);
    assert_eq!(
        *lines.lock().unwrap(),
        [(GuestLevel::Info, "said".to_owned())]
    );
    lines.lock().unwrap().clear();
    apply(&transform, &["exit"]);
    assert_eq!(*lines.lock().unwrap(), []);
}

#[test]
fn wasi_is_given_only_where_it_is_asked_for() {
    let error = load(WASI, "{}").err().unwrap().to_string();
    assert!(
        error.contains("imports `wasi:") && error.contains("`wasi: true`"),
        "{error}"
    );
}

#[test]
fn the_world_of_a_component_is_empty_and_stands_still() {
    let (transform, lines) = with_wasi();
    let records = batch(&["clock", "random", "sleep", "environment", "stderr"]);
    let outcomes = transform.apply(&records, Overruns::Decide);
    let first = texts(&outcomes);
    assert_eq!(
        [0, 2, 3, 4].map(|i| first[i].as_str()),
        ["1.000000000", "5000000000", "0 0 0", "said"]
    );
    assert_eq!(
        result(&with_wasi().0.apply(&records, Overruns::Decide)),
        result(&outcomes)
    );
    let said = ["a line", "and another"].map(|line| (GuestLevel::Info, line.to_owned()));
    assert_eq!(*lines.lock().unwrap(), said);
}

#[test]
fn last_words_go_to_the_error_output_and_what_is_not_there_has_a_name() {
    let (transform, lines) = with_wasi();
    let outcomes = apply(&transform, &["clock", "last words", "exit"]);
    assert_eq!(texts(&outcomes).len(), 1);
    let failed = [(1, "Transform.Trapped"), (2, "Transform.InvalidOutput")];
    assert_eq!(failures(&outcomes), failed);
    let messages: Vec<&str> = outcomes
        .failures
        .iter()
        .map(|f| f.message.as_str())
        .collect();
    assert!(
        messages[0].contains("Traceback: | ValueError: no; in "),
        "{messages:?}"
    );
    assert!(messages[1].contains("wasi:cli/exit"), "{messages:?}");
    assert_eq!(*lines.lock().unwrap(), []);
}

/// No exit code: the guest traps.
const TRAP: u8 = 0x3f;

/// A command whose start function, which runs while an instance is made, reads its input and ends
/// with the code `empty` where there is none, else with `full`; [`TRAP`] is no code.
fn starting(empty: u8, full: u8) -> Vec<u8> {
    let name = |out: &mut Vec<u8>, name: &[u8]| {
        out.push(u8::try_from(name.len()).unwrap());
        out.extend(name);
    };
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    let mut section = |id: u8, body: &[u8]| {
        module.extend([id, u8::try_from(body.len()).unwrap()]);
        module.extend(body);
    };
    // Types: of nothing; of a number; of four numbers, with an answer.
    section(
        1,
        &[
            3, 0x60, 0, 0, 0x60, 1, 0x7f, 0, 0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7f,
        ],
    );
    let mut imports = vec![2];
    for (import, kind) in [(&b"fd_read"[..], 2), (b"proc_exit", 1)] {
        name(&mut imports, b"wasi_snapshot_preview1");
        name(&mut imports, import);
        imports.extend([0, kind]);
    }
    section(2, &imports);
    section(3, &[1, 0]); // a function of nothing: number 2
    section(5, &[1, 0, 1]); // a memory
    let mut exports = vec![2];
    name(&mut exports, b"memory");
    exports.extend([2, 0]);
    name(&mut exports, b"_start");
    exports.extend([0, 2]);
    section(7, &exports);
    section(8, &[2]); // it is the start function, too
    let end = |code: u8| match code {
        TRAP => vec![0x00], // unreachable
        code => vec![0x41, code, 0x10, 1],
    };
    let mut code = vec![0]; // no locals
    code.extend([0x41, 0, 0x41, 16, 0x36, 2, 0]); // at 0: read to 16,
    code.extend([0x41, 4, 0x41, 32, 0x36, 2, 0]); // at 4: 32 bytes
    code.extend([0x41, 0, 0x41, 0, 0x41, 1, 0x41, 8, 0x10, 0, 0x1a]); // fd_read(0, 0, 1, 8)
    code.extend([0x41, 8, 0x28, 2, 0, 0x04, 0x40]); // if what stands at 8
    code.extend(end(full));
    code.push(0x05); // else
    code.extend(end(empty));
    code.extend([0x0b, 0x0b]);
    let mut body = vec![1, u8::try_from(code.len()).unwrap()];
    body.extend(code);
    section(10, &body);
    module
}

#[test]
fn what_a_start_function_does_is_the_guests_doing() {
    for (full, code, words) in [
        (0, "Transform.ProcessingFailed", "no line for the record"),
        (7, "Transform.InvalidOutput", "it ended with exit code 7"),
        (TRAP, "Transform.Trapped", "`start`: wasm trap"),
    ] {
        let transform = load(&starting(0, full), "{}").unwrap();
        let outcomes = apply(&transform, &["a", "b"]);
        assert_eq!(failures(&outcomes), [(0, code), (1, code)]);
        let message = &outcomes.failures[0].message;
        assert!(message.contains(words), "{message}");
    }
    for (empty, words) in [(3, "exit code 3"), (TRAP, "cannot be started: it trapped")] {
        let error = load(&starting(empty, 0), "{}").err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn the_clock_of_a_command_never_stands_at_nought() {
    // Go's runtime ends where it does.
    let outcomes = apply(&command(), &["monotonic"]);
    assert_eq!(texts(&outcomes), ["1.000000000"]);
}
