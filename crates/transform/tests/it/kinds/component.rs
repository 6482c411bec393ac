//! Components and commands as text: honest ones, into which a kind puts its own lines. They misbehave
//! where the partition key of a record is `!`, and answer `unchanged` for all others.

/// Where a kind's lines go. What it leaves empty is as an honest guest has it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lines {
    /// Pages of memory, smallest and, if wanted, largest.
    pub(crate) memory: &'static str,
    /// In the module beside the functions; and what it imports.
    pub(crate) beside: &'static str,
    /// At the begin of `realloc`, whose size is `$size`: that of the poison's data is 4,242.
    pub(crate) realloc: &'static str,
    /// At the begin of `configure`. It may return the place of its result.
    pub(crate) configure: &'static str,
    /// What a batch of `$count` records with the poison gets: the place of a list, as pointer and length.
    pub(crate) transform: &'static str,
    /// In `post-return`, where the batch had the poison.
    pub(crate) post_return: &'static str,
    /// In the component, beside its parts; and what its module may import from `more`.
    pub(crate) component: &'static str,
    pub(crate) with: &'static str,
    /// The encoding of its texts: UTF-8, if empty.
    pub(crate) encoding: &'static str,
}

/// Nothing of its own: for `..`.
pub(crate) const HONEST: Lines = Lines {
    memory: "",
    beside: "",
    realloc: "",
    configure: "",
    transform: "",
    post_return: "",
    component: "",
    with: "",
    encoding: "",
};

/// What the contract's types are.
const TYPES: &str = r#"
    (type $the-types (instance
        (type $b (record (field "delivery-stream" string)))
        (export "batch-info" (type (eq $b)))
        (type $i (record (field "data" (list u8)) (field "partition-key" string)
            (field "sequence-number" string) (field "approximate-arrival-ms" u64)))
        (export "incoming" (type (eq $i)))
        (type $k (list (tuple string string)))
        (export "keys" (type $keys (eq $k)))
        (type $r (record (field "partition-keys" $keys) (field "target" (option string))))
        (export "routing" (type $routing (eq $r)))
        (type $o (record (field "data" (list u8)) (field "routing" $routing)))
        (export "outgoing" (type $outgoing (eq $o)))
        (type $v (variant (case "unchanged" $routing) (case "ok" $outgoing)
            (case "many" (list $outgoing)) (case "dropped") (case "failed" string)))
        (export "outcome" (type (eq $v)))))
    (import "hydrant:transform/types@1.0.0" (instance $types (type $the-types)))
    (alias export $types "batch-info" (type $batch-info))
    (alias export $types "incoming" (type $incoming))
    (alias export $types "outcome" (type $outcome))
    (import "hydrant:transform/log@1.0.0" (instance $log
        (type $l (enum "debug" "info" "warn" "error"))
        (export "level" (type $level (eq $l)))
        (export "log" (func (param "level" $level) (param "message" string)))))"#;

/// A component of the contract.
#[expect(clippy::too_many_lines, reason = "one text, with its holes")]
pub(crate) fn component(lines: &Lines) -> Vec<u8> {
    let or = |text: &'static str, other| if text.is_empty() { other } else { text };
    let memory = or(lines.memory, "1");
    let encoding = or(lines.encoding, "utf8");
    let transform = or(lines.transform, "(call $answer (local.get $count))");
    let Lines {
        beside,
        realloc,
        configure,
        post_return,
        component,
        with,
        ..
    } = lines;
    let text = format!(
        r#"(component {TYPES}
    (core module $libc
        (memory (export "memory") {memory})
        (global $next (mut i32) (i32.const 1024))
        (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32)
            (param $size i32) (result i32)
            (local $at i32)
            {realloc}
            (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
            (global.set $next (i32.add (local.get $at) (local.get $size)))
            (if (i32.gt_u (global.get $next) (i32.shl (memory.size) (i32.const 16)))
                (then (drop (memory.grow
                    (i32.add (i32.const 1) (i32.shr_u (local.get $size) (i32.const 16)))))))
            (local.get $at)))
    (core module $main
        (import "libc" "memory" (memory 0))
        (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
        (import "log" "log" (func $log (param i32 i32 i32)))
        {beside}
        (global $poisoned (mut i32) (i32.const 0))
        (func $new (param $size i32) (result i32)
            (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (local.get $size)))
        ;; The place of a pointer and a length.
        (func $list (param $at i32) (param $length i32) (result i32)
            (local $place i32)
            (local.set $place (call $new (i32.const 8)))
            (i32.store (local.get $place) (local.get $at))
            (i32.store offset=4 (local.get $place) (local.get $length))
            (local.get $place))
        ;; All unchanged: 32 bytes of nothing for each.
        (func $answer (param $count i32) (result i32)
            (call $list (call $new (i32.shl (local.get $count) (i32.const 5))) (local.get $count)))
        (func $poison (param $count i32) (result i32)
            (local $a i32) (local $b i32)
            {transform})
        (func (export "configure") (param $at i32) (param $length i32) (result i32)
            (local $a i32)
            {configure}
            (call $new (i32.const 12)))
        (func (export "transform") (param $stream i32) (param $length i32) (param $batch i32)
            (param $count i32) (result i32)
            (local $i i32) (local $key i32)
            (loop $next
                (if (i32.lt_u (local.get $i) (local.get $count)) (then
                    (local.set $key (i32.load offset=8
                        (i32.add (local.get $batch) (i32.shl (local.get $i) (i32.const 5)))))
                    (if (i32.eq (i32.load8_u (local.get $key)) (i32.const 33)) (then
                        (global.set $poisoned (i32.const 1))
                        (return (call $poison (local.get $count)))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br $next))))
            (call $answer (local.get $count)))
        (func (export "post") (param i32)
            (if (global.get $poisoned) (then {post_return}))))
    (core instance $libc (instantiate $libc))
    {component}
    (core func $log' (canon lower (func $log "log") (memory $libc "memory")
        (realloc (func $libc "realloc")) string-encoding={encoding}))
    (core instance $main (instantiate $main
        (with "libc" (instance $libc))
        (with "log" (instance (export "log" (func $log'))))
        {with}))
    (func $configure (param "config" string) (result (result (error string)))
        (canon lift (core func $main "configure") (memory $libc "memory")
            (realloc (func $libc "realloc")) string-encoding={encoding}))
    (export "configure" (func $configure))
    (func $transform (param "info" $batch-info) (param "batch" (list $incoming))
        (result (list $outcome))
        (canon lift (core func $main "transform") (memory $libc "memory")
            (realloc (func $libc "realloc")) (post-return (func $main "post"))
            string-encoding={encoding}))
    (export "transform" (func $transform)))"#
    );
    wat(&text)
}

/// A WASI command. `lines` is what it does where its input has the poison; then it answers as an
/// honest one, unless it has returned.
pub(crate) fn command(beside: &str, lines: &str) -> Vec<u8> {
    wat(&format!(
        r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff"
        (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 4)
    (data (i32.const 512) "{{\"id\":0,\"result\":\"Unchanged\"}}\n")
    {beside}
    ;; Writes so many bytes to its standard output, or error.
    (func $say-to (param $fd i32) (param $at i32) (param $length i32)
        (i32.store (i32.const 0) (local.get $at))
        (i32.store (i32.const 4) (local.get $length))
        (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
    (func $say (param $at i32) (param $length i32)
        (call $say-to (i32.const 1) (local.get $at) (local.get $length)))
    (func $poison (local $i i32) {lines})
    (func (export "_start") (local $i i32) (local $end i32) (local $poisoned i32)
        ;; All of its input, from 65,536 on.
        (i32.store (i32.const 0) (i32.const 65536))
        (i32.store (i32.const 4) (i32.const 65536))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (local.set $i (i32.const 65536))
        (local.set $end (i32.add (i32.const 65536) (i32.load (i32.const 8))))
        (loop $next
            (if (i32.lt_u (local.get $i) (local.get $end)) (then
                (if (i32.eq (i32.load8_u (local.get $i)) (i32.const 33))
                    (then (local.set $poisoned (i32.const 1))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br $next))))
        (if (local.get $poisoned) (then (call $poison)))
        (local.set $i (i32.const 65536))
        (loop $next
            (if (i32.lt_u (local.get $i) (local.get $end)) (then
                ;; At each end of a line the answer for its record; then the digit of the next id.
                (if (i32.eq (i32.load8_u (local.get $i)) (i32.const 10)) (then
                    (call $say (i32.const 512) (i32.const 30))
                    (i32.store8 (i32.const 518)
                        (i32.add (i32.load8_u (i32.const 518)) (i32.const 1)))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br $next))))))"#
    ))
}

pub(crate) fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}
