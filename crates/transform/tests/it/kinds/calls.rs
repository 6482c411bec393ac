//! What a component may do while it is called, and what its answers may be.

use super::Wanted::{Fails, Harmless};
use super::component::{HONEST, Lines};
use super::{Guest, Kind};

/// A kind of a component's answer for the batch with the poison.
const fn answers(name: &'static str, transform: &'static str, wanted: super::Wanted) -> Kind {
    kind(
        name,
        Lines {
            transform,
            ..HONEST
        },
        wanted,
    )
}

const fn kind(name: &'static str, lines: Lines, wanted: super::Wanted) -> Kind {
    Kind {
        name,
        guest: Guest::Component(lines),
        wanted,
    }
}

const fn word(name: &'static str, word: &'static str, wanted: super::Wanted) -> Kind {
    Kind {
        name,
        guest: Guest::Word(word),
        wanted,
    }
}

const TIMED_OUT: super::Wanted = Fails("Transform.TimedOut", "within its time limit");
const MEMORY: super::Wanted = Fails("Transform.MemoryLimit", "limit of 67108864 bytes");
const OUTPUT: super::Wanted = Fails("Transform.OutputLimit", "the limit of 8388608 bytes");

/// One of these for a record; what is wrong with its answer stands in `$a`, 32 bytes of nothing.
macro_rules! outcome {
    ($lines:literal) => {
        concat!(
            "(local.set $a (call $new (i32.shl (local.get $count) (i32.const 5))))",
            $lines,
            "(call $list (local.get $a) (local.get $count))"
        )
    };
}

/// Every kind.
pub(super) const KINDS: &[Kind] = &[
    // Time.
    word("endless loop", "loop", TIMED_OUT),
    answers(
        "endless loop that takes memory",
        "(loop $on (drop (memory.grow (i32.const 1))) (br $on)) (unreachable)",
        TIMED_OUT,
    ),
    answers(
        "endless log",
        "(loop $on (call $log (i32.const 1) (i32.const 0) (i32.const 9)) (br $on)) (unreachable)",
        TIMED_OUT,
    ),
    kind(
        "endless loop in realloc",
        Lines {
            realloc: "(if (i32.eq (local.get $size) (i32.const 4242)) (then (loop $on (br $on))))",
            ..HONEST
        },
        TIMED_OUT,
    ),
    kind(
        "endless loop in post-return",
        Lines {
            post_return: "(loop $on (br $on))",
            ..HONEST
        },
        TIMED_OUT,
    ),
    // Memory and stack.
    word("memory by steps", "alloc", MEMORY),
    answers(
        "memory at once",
        "(if (i32.eq (memory.grow (i32.const 65000)) (i32.const -1)) (then (unreachable))) (unreachable)",
        MEMORY,
    ),
    kind(
        "table at once",
        Lines {
            beside: "(table $t 1 funcref)",
            transform:
                "(if (i32.eq (table.grow $t (ref.null func) (i32.const 10000000)) (i32.const -1))
                (then (unreachable))) (unreachable)",
            ..HONEST
        },
        Fails(
            "Transform.MemoryLimit",
            "a table of more than 200000 entries",
        ),
    ),
    kind(
        "table by steps",
        Lines {
            beside: "(table $t 1 funcref)",
            transform: "(loop $on
                (if (i32.eq (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))
                    (then (unreachable))) (br $on)) (unreachable)",
            ..HONEST
        },
        Fails(
            "Transform.MemoryLimit",
            "a table of more than 200000 entries",
        ),
    ),
    word(
        "recursion",
        "deep",
        Fails("Transform.Trapped", "call stack exhausted"),
    ),
    kind(
        "handles without end",
        Lines {
            component: "(type $r (resource (rep i32)))
                (core func $new-handle (canon resource.new $r))",
            with: "(with \"more\" (instance (export \"new\" (func $new-handle))))",
            beside: "(import \"more\" \"new\" (func $new-handle (param i32) (result i32)))",
            transform: "(loop $on (drop (call $new-handle (i32.const 0))) (br $on)) (unreachable)",
            ..HONEST
        },
        Fails("Transform.InvalidOutput", "handle"),
    ),
    // Traps.
    word(
        "trap",
        "trap",
        Fails("Transform.Trapped", "a record asked for a trap"),
    ),
    answers(
        "read outside its memory",
        "(i32.load (i32.const -4))",
        Fails("Transform.Trapped", "out of bounds memory access"),
    ),
    kind(
        "call of another type",
        Lines {
            beside: "(table $t funcref (elem $odd)) (func $odd (param i64))",
            transform: "(call_indirect $t (result i32) (i32.const 0))",
            ..HONEST
        },
        Fails("Transform.Trapped", "indirect call type mismatch"),
    ),
    answers(
        "division by nought",
        "(i32.div_u (i32.const 1) (i32.const 0))",
        Fails("Transform.Trapped", "integer divide by zero"),
    ),
    kind(
        "trap in realloc",
        Lines {
            realloc: "(if (i32.eq (local.get $size) (i32.const 4242)) (then (unreachable)))",
            ..HONEST
        },
        Fails("Transform.Trapped", "unreachable"),
    ),
    kind(
        "trap in post-return",
        Lines {
            post_return: "(unreachable)",
            ..HONEST
        },
        Fails("Transform.Trapped", "unreachable"),
    ),
    kind(
        "place outside its memory from realloc",
        Lines {
            realloc: "(if (i32.eq (local.get $size) (i32.const 4242)) (then (return (i32.const -8))))",
            ..HONEST
        },
        Fails(
            "Transform.InvalidOutput",
            "realloc return: beyond end of memory",
        ),
    ),
    kind(
        "odd place from realloc",
        Lines {
            // Of the list of records: 32 bytes each, for one that has the poison, too.
            realloc: "(if (i32.and (i32.eq (local.get $align) (i32.const 8))
                (i32.and (i32.ne (local.get $size) (i32.const 12)) (i32.load8_u (i32.const 512))))
                (then (return (i32.const 2049))))
                (if (i32.eq (local.get $size) (i32.const 4242))
                    (then (i32.store8 (i32.const 512) (i32.const 1))))",
            transform: "(i32.const 2049)",
            ..HONEST
        },
        Fails("Transform.InvalidOutput", "not aligned"),
    ),
    // Answers that are too much.
    word("huge output", "huge", OUTPUT),
    word("a million outputs", "million", OUTPUT),
    answers(
        "one megabyte ten thousand times",
        "(drop (memory.grow (i32.const 32)))
         (local.set $a (call $new (i32.const 280000)))
         (local.set $b (i32.const 0))
         (loop $on
            (i32.store offset=4 (i32.add (local.get $a) (i32.mul (local.get $b) (i32.const 28)))
                (i32.const 1048576))
            (local.set $b (i32.add (local.get $b) (i32.const 1)))
            (br_if $on (i32.lt_u (local.get $b) (i32.const 10000))))
         (local.set $b (call $new (i32.shl (local.get $count) (i32.const 5))))
         (i32.store8 (local.get $b) (i32.const 2))
         (i32.store offset=4 (local.get $b) (local.get $a))
         (i32.store offset=8 (local.get $b) (i32.const 10000))
         (call $list (local.get $b) (local.get $count))",
        OUTPUT,
    ),
    answers(
        "partition keys without end",
        outcome!(
            "(drop (memory.grow (i32.const 300)))
             (i32.store offset=4 (local.get $a) (i32.const 0))
             (i32.store offset=8 (local.get $a) (i32.const 1000000))"
        ),
        OUTPUT,
    ),
    answers(
        "output of all of its memory",
        outcome!(
            "(drop (memory.grow (i32.const 800)))
             (i32.store8 (local.get $a) (i32.const 1))
             (i32.store offset=8 (local.get $a) (i32.shl (memory.size) (i32.const 16)))"
        ),
        OUTPUT,
    ),
    answers(
        "failure of fifty megabytes",
        outcome!(
            "(drop (memory.grow (i32.const 800)))
             (i32.store8 (local.get $a) (i32.const 4))
             (i32.store offset=8 (local.get $a) (i32.const 52428800))"
        ),
        OUTPUT,
    ),
    word(
        "failure of a megabyte",
        "failhuge",
        Fails("Transform.ProcessingFailed", "é"),
    ),
    // Answers that are none.
    word(
        "too few outcomes",
        "short",
        Fails("Transform.InvalidOutput", "0 outcomes for 1 records"),
    ),
    word(
        "too many outcomes",
        "long",
        Fails("Transform.InvalidOutput", "2 outcomes for 1 records"),
    ),
    answers(
        "list of 2^31 outcomes",
        "(call $list (i32.const 0) (i32.const 0x80000000))",
        Fails("Transform.InvalidOutput", "out of bounds"),
    ),
    answers(
        "list of 2^32 bytes, by overflow",
        "(call $list (i32.const 0) (i32.const 0x08000000))",
        Fails("Transform.InvalidOutput", "out of bounds"),
    ),
    answers(
        "list outside its memory",
        "(call $list (i32.const 0x7ffffff0) (local.get $count))",
        Fails("Transform.InvalidOutput", "out of bounds"),
    ),
    answers(
        "list at an odd place",
        "(call $list (i32.const 1025) (local.get $count))",
        Fails("Transform.InvalidOutput", "not aligned"),
    ),
    answers(
        "answer outside its memory",
        "(i32.const -16)",
        Fails("Transform.InvalidOutput", "out of bounds"),
    ),
    answers(
        "answer at an odd place",
        "(i32.const 1025)",
        Fails("Transform.InvalidOutput", "not aligned"),
    ),
    answers(
        "verdict that there is not",
        outcome!("(i32.store8 (local.get $a) (i32.const 77))"),
        Fails("Transform.InvalidOutput", "discriminant"),
    ),
    answers(
        "option that is neither",
        outcome!("(i32.store8 offset=12 (local.get $a) (i32.const 9))"),
        Fails("Transform.InvalidOutput", "discriminant"),
    ),
    answers(
        "output outside its memory",
        outcome!(
            "(i32.store8 (local.get $a) (i32.const 1))
             (i32.store offset=4 (local.get $a) (i32.const -1))
             (i32.store offset=8 (local.get $a) (i32.const 100))"
        ),
        Fails("Transform.InvalidOutput", "out of bounds"),
    ),
    answers(
        "failure that is no text",
        outcome!(
            "(i32.store8 (local.get $a) (i32.const 4))
             (i32.store (i32.const 512) (i32.const -1))
             (i32.store offset=4 (local.get $a) (i32.const 512))
             (i32.store offset=8 (local.get $a) (i32.const 4))"
        ),
        Fails("Transform.InvalidOutput", "utf-8"),
    ),
    // The log.
    word("log flood", "logflood", Harmless),
    answers(
        "a million log lines",
        "(local.set $a (i32.const 1000000))
         (loop $on
            (call $log (i32.const 1) (i32.const 0) (i32.const 9))
            (local.set $a (i32.sub (local.get $a) (i32.const 1)))
            (br_if $on (local.get $a)))
         (call $answer (local.get $count))",
        Harmless,
    ),
    answers(
        "log line of seven megabytes",
        "(drop (memory.grow (i32.const 800)))
         (call $log (i32.const 3) (i32.const 1048576) (i32.const 7340032))
         (call $answer (local.get $count))",
        Harmless,
    ),
    answers(
        "log line of fifty megabytes",
        "(drop (memory.grow (i32.const 800)))
         (call $log (i32.const 3) (i32.const 0) (i32.const 52428800))
         (call $answer (local.get $count))",
        Fails(
            "Transform.InvalidOutput",
            "megabytes at once, such as a log line",
        ),
    ),
    kind(
        "log line of fifty megabytes in UTF-16",
        Lines {
            encoding: "utf16",
            transform: "(drop (memory.grow (i32.const 800)))
                (call $log (i32.const 3) (i32.const 0) (i32.const 26214400))
                (call $answer (local.get $count))",
            ..HONEST
        },
        Fails(
            "Transform.InvalidOutput",
            "megabytes at once, such as a log line",
        ),
    ),
    answers(
        "log line that is no text",
        "(i32.store (i32.const 512) (i32.const -1))
         (call $log (i32.const 1) (i32.const 512) (i32.const 4))
         (call $answer (local.get $count))",
        Fails("Transform.InvalidOutput", "utf-8"),
    ),
    answers(
        "log line outside its memory",
        "(call $log (i32.const 1) (i32.const -9) (i32.const 100))
         (call $answer (local.get $count))",
        Fails("Transform.InvalidOutput", "out of bounds"),
    ),
    answers(
        "log level that there is not",
        "(call $log (i32.const 200) (i32.const 0) (i32.const 1))
         (call $answer (local.get $count))",
        Fails("Transform.InvalidOutput", "discriminant"),
    ),
];
