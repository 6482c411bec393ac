//! What a command in stdio mode may do.

use super::Wanted::{Fails, Harmless};
use super::{Guest, Kind, Wanted};

const fn word(name: &'static str, word: &'static str, wanted: Wanted) -> Kind {
    Kind {
        name,
        guest: Guest::CommandWord(word),
        wanted,
    }
}

/// A command that does this where its input has the poison.
const fn does(name: &'static str, lines: &'static str, wanted: Wanted) -> Kind {
    writes(name, "", lines, wanted)
}

/// The same, with data.
const fn writes(
    name: &'static str,
    beside: &'static str,
    lines: &'static str,
    wanted: Wanted,
) -> Kind {
    Kind {
        name,
        guest: Guest::Command(beside, lines),
        wanted,
    }
}

const TIMED_OUT: Wanted = Fails("Transform.TimedOut", "within its time limit");
const OUTPUT: Wanted = Fails("Transform.OutputLimit", "the limit of 8388608 bytes");

/// Every kind.
pub(super) const KINDS: &[Kind] = &[
    word("command: endless loop", "loop", TIMED_OUT),
    word(
        "command: memory by steps",
        "alloc",
        Fails("Transform.MemoryLimit", "67108864 bytes"),
    ),
    word(
        "command: trap",
        "trap",
        Fails("Transform.Trapped", "a record asked for a trap"),
    ),
    word("command: huge output", "flood", OUTPUT),
    word(
        "command: exit code",
        "exit",
        Fails("Transform.InvalidOutput", "exit code 7: gone"),
    ),
    word(
        "command: no line for a record",
        "nothing",
        Fails("Transform.ProcessingFailed", "no line"),
    ),
    word(
        "command: no JSON",
        "garbage",
        Fails("Transform.InvalidOutput", "line 1 of its answer"),
    ),
    word(
        "command: a gigabyte of errors",
        "errors",
        Fails("Transform.InvalidOutput", "the end"),
    ),
    word("command: sleep of an hour", "sleep", Harmless),
    does(
        "command: endless output",
        "(loop $on (call $say (i32.const 65536) (i32.const 65536)) (br $on))",
        OUTPUT,
    ),
    does(
        "command: endless errors",
        "(loop $on (call $say-to (i32.const 2) (i32.const 65536) (i32.const 65536)) (br $on))",
        TIMED_OUT,
    ),
    does(
        "command: endless sleep",
        "(loop $on
            (i64.store (i32.const 152) (i64.const 3600000000000))
            (drop (call $poll (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 8)))
            (br $on))",
        TIMED_OUT,
    ),
    does(
        "command: endless random numbers",
        "(loop $on (drop (call $random (i32.const 131072) (i32.const 65536))) (br $on))",
        TIMED_OUT,
    ),
    does(
        "command: recursion",
        "(call $poison)",
        Fails("Transform.Trapped", "call stack exhausted"),
    ),
    does(
        "command: input and output outside its memory",
        "(call $say (i32.const -9) (i32.const 100))
         (call $say (i32.const 0) (i32.const -1))
         (drop (call $read (i32.const 0) (i32.const -5) (i32.const 1) (i32.const 8)))
         (drop (call $write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 8)))
         (drop (call $write (i32.const 99) (i32.const 0) (i32.const 1) (i32.const -1)))
         (drop (call $random (i32.const -9) (i32.const 100)))
         (drop (call $poll (i32.const -9) (i32.const -9) (i32.const -1) (i32.const -9)))",
        Harmless,
    ),
    writes(
        "command: unknown id",
        r#"(data (i32.const 1024) "{\"id\":99,\"result\":\"Dropped\"}\n")"#,
        "(call $say (i32.const 1024) (i32.const 29))",
        Fails("Transform.InvalidOutput", "no record with the id 99"),
    ),
    writes(
        "command: a record twice",
        r#"(data (i32.const 1024) "{\"id\":0,\"result\":\"Dropped\"}\n")"#,
        "(call $say (i32.const 1024) (i32.const 28))",
        Fails(
            "Transform.InvalidOutput",
            "record 0 has two verdicts already",
        ),
    ),
    writes(
        "command: invalid base64",
        r#"(data (i32.const 1024) "{\"id\":0,\"result\":\"Ok\",\"data\":\"?\"}\n")"#,
        "(call $say (i32.const 1024) (i32.const 34))",
        Fails("Transform.InvalidOutput", "`data` is not base64"),
    ),
    writes(
        "command: no UTF-8",
        r#"(data (i32.const 1024) "{\"id\":0,\"result\":\"Ok\",\"text\":\"\ff\"}\n")"#,
        "(call $say (i32.const 1024) (i32.const 34))",
        Fails("Transform.InvalidOutput", "line 1 of its answer"),
    ),
    writes(
        "command: JSON of 100,000 levels without an end",
        r#"(data (i32.const 1024) "{\"id\":0,\"result\":\"Ok\",\"json\":")"#,
        "(call $say (i32.const 1024) (i32.const 29))
         (memory.fill (i32.const 131072) (i32.const 91) (i32.const 100000))
         (call $say (i32.const 131072) (i32.const 100000))",
        Fails("Transform.InvalidOutput", "line 1 of its answer"),
    ),
    writes(
        "command: names of 100,000 levels",
        r#"(data (i32.const 1024) "{\"id\":0,\"result\":\"Unchanged\",\"partitionKeys\":")"#,
        "(call $say (i32.const 1024) (i32.const 46))
         (memory.fill (i32.const 131072) (i32.const 91) (i32.const 100000))
         (call $say (i32.const 131072) (i32.const 100000))",
        Fails("Transform.InvalidOutput", "line 1 of its answer"),
    ),
    does(
        "command: a failure after its answer",
        "(call $exit (i32.const 3))",
        Fails("Transform.InvalidOutput", "exit code 3"),
    ),
];
