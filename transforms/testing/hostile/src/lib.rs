//! A guest that misbehaves as its records ask for, for tests of the host. A record is a word and
//! its arguments; an unknown word is answered `unchanged`.

use std::hint::black_box;

wit_bindgen::generate!({ path: "../../wit", world: "transform" });

use hydrant::transform::log::{Level, log};
use hydrant::transform::types::Outgoing;

struct Hostile;

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
        "upper" => ok(rest.to_uppercase().into_bytes()),
        "many" => Outcome::Many(rest.split(' ').map(|part| outgoing(part.into())).collect()),
        "none" => Outcome::Many(Vec::new()),
        "drop" => Outcome::Dropped,
        "fail" => Outcome::Failed(rest.to_owned()),
        "failhuge" => Outcome::Failed("é".repeat(1 << 20)),
        "keys" => Outcome::Unchanged(vec![("word".to_owned(), rest.to_owned())]),
        "log" => {
            log(Level::Warn, rest);
            Outcome::Unchanged(Vec::new())
        }
        "logflood" => {
            for _ in 0..1000 {
                log(Level::Info, &"y".repeat(1000));
            }
            Outcome::Unchanged(Vec::new())
        }
        "meta" => ok(format!(
            "{} {} {} {}",
            info.source,
            record.partition_key,
            record.sequence_number,
            record.approximate_arrival_ms
        )
        .into_bytes()),
        _ => Outcome::Unchanged(Vec::new()),
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
        partition_keys: Vec::new(),
    }
}

export!(Hostile);
