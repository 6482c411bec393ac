//! A guest that misbehaves as its records ask for, for tests of the host. A record is a word and
//! its arguments; an unknown word is answered `unchanged`.

use std::cell::Cell;
use std::hint::black_box;

wit_bindgen::generate!({ path: "../../wit", world: "transform" });

use hydrant::transform::log::{Level, log};
use hydrant::transform::types::{Outgoing, Routing};

struct Hostile;

thread_local! {
    /// Calls that this instance has answered, the one under way included.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

impl Guest for Hostile {
    fn configure(config: String) -> Result<(), String> {
        std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
        match config.as_str() {
            "{\"refuse\":true}" => Err("`refuse` was asked for".to_owned()),
            "{\"trap\":true}" => panic!("configure was asked to"),
            "{\"loop\":true}" => spin(),
            _ => Ok(()),
        }
    }

    fn transform(info: BatchInfo, batch: Vec<Incoming>) -> Vec<Outcome> {
        CALLS.set(CALLS.get() + 1);
        let mut outcomes = Vec::new();
        let (mut short, mut long) = (false, false);
        for record in &batch {
            let text = String::from_utf8_lossy(&record.data).into_owned();
            match text.as_str() {
                "short" => short = true,
                "long" => long = true,
                _ => {}
            }
            outcomes.push(outcome(&text, record, &info));
        }
        if short {
            outcomes.pop();
        }
        if long {
            outcomes.push(Outcome::Dropped);
        }
        outcomes
    }
}

fn outcome(text: &str, record: &Incoming, info: &BatchInfo) -> Outcome {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match word {
        "trap" => panic!("a record asked for a trap"),
        "loop" => spin(),
        // Takes a few milliseconds of CPU, so that many of them pass a short limit together.
        "slow" => {
            burn();
            ok("slow".into())
        }
        "alloc" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(black_box(Vec::<u8>::with_capacity(1 << 20)));
            }
        }
        "huge" => ok(vec![b'x'; 20 << 20]),
        "million" => million(),
        // How many calls this instance has had.
        "calls" => ok(CALLS.get().to_string().into_bytes()),
        // Bears a grudge: only the first call of an instance is answered.
        "grudge" if CALLS.get() > 1 => panic!("this instance was used before"),
        "upper" => ok(rest.to_uppercase().into_bytes()),
        "many" => Outcome::Many(rest.split(' ').map(|part| outgoing(part.into())).collect()),
        "none" => Outcome::Many(Vec::new()),
        "drop" => Outcome::Dropped,
        "fail" => Outcome::Failed(rest.to_owned()),
        "failhuge" => Outcome::Failed("é".repeat(1 << 20)),
        "keys" => Outcome::Unchanged(Routing {
            partition_keys: vec![("word".to_owned(), rest.to_owned())],
            target: None,
        }),
        "target" => Outcome::Unchanged(to(rest)),
        // A change for each word, the last one with a target.
        "fork" => Outcome::Many(fork(rest)),
        "deep" => ok(deep(1).to_le_bytes().to_vec()),
        "log" => {
            log(Level::Warn, rest);
            Outcome::Unchanged(here())
        }
        "logflood" => {
            for _ in 0..1000 {
                log(Level::Info, &"y".repeat(1000));
            }
            Outcome::Unchanged(here())
        }
        "meta" => ok(format!(
            "{} {} {} {}",
            info.delivery_stream,
            record.partition_key,
            record.sequence_number,
            record.approximate_arrival_ms
        )
        .into_bytes()),
        _ => Outcome::Unchanged(here()),
    }
}

fn spin() -> ! {
    loop {
        black_box(());
    }
}

fn burn() {
    let mut sum = 0_u64;
    for i in 0..4_000_000_u64 {
        sum = black_box(sum ^ i);
    }
}

/// A million outputs: a small answer in the guest's memory that is large in the host's.
fn million() -> Outcome {
    Outcome::Many((0..1_000_000).map(|_| outgoing(Vec::new())).collect())
}

fn ok(data: Vec<u8>) -> Outcome {
    Outcome::Ok(outgoing(data))
}

fn outgoing(data: Vec<u8>) -> Outgoing {
    Outgoing {
        data,
        routing: here(),
    }
}

fn here() -> Routing {
    Routing {
        partition_keys: Vec::new(),
        target: None,
    }
}

fn to(target: &str) -> Routing {
    Routing {
        target: Some(target.to_owned()),
        ..here()
    }
}

fn fork(words: &str) -> Vec<Outgoing> {
    let mut outputs: Vec<Outgoing> = words.split(' ').map(|word| outgoing(word.into())).collect();
    if let Some(last) = outputs.last_mut() {
        last.routing = to("last");
    }
    outputs
}

/// Calls itself until the host's stack is used up. Nothing of it stands in the guest's own memory,
/// whose end it would meet first.
#[inline(never)]
fn deep(level: u64) -> u64 {
    if level == u64::MAX {
        return 0;
    }
    let shift = (level & 63) as u32;
    deep(level + 1).rotate_left(shift) ^ level
}

export!(Hostile);
