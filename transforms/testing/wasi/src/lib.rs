//! A guest that looks at the WASI it has, as its records ask for, for tests of the host.

wit_bindgen::generate!({
    path: ["../../wit", "wit"],
    world: "hydrant:wasi-test/guest",
    generate_all,
});

use hydrant::transform::types::{Outgoing, Routing};
use wasi::cli::{environment, exit, stderr};
use wasi::clocks::{monotonic_clock, wall_clock};
use wasi::filesystem::preopens;
use wasi::random::random;

struct Wasi;

impl Guest for Wasi {
    fn configure(_config: String) -> Result<(), String> {
        Ok(())
    }

    fn transform(_info: BatchInfo, batch: Vec<Incoming>) -> Vec<Outcome> {
        batch
            .iter()
            .map(|record| Outcome::Ok(outgoing(answer(&record.data))))
            .collect()
    }
}

fn answer(word: &[u8]) -> String {
    match word {
        b"clock" => {
            let now = wall_clock::now();
            format!("{}.{:09}", now.seconds, now.nanoseconds)
        }
        b"sleep" => {
            let before = monotonic_clock::now();
            monotonic_clock::subscribe_duration(5_000_000_000).block();
            (monotonic_clock::now() - before).to_string()
        }
        b"random" => format!(
            "{:?} {}",
            random::get_random_bytes(9),
            random::get_random_u64()
        ),
        b"environment" => format!(
            "{} {} {}",
            environment::get_environment().len(),
            environment::get_arguments().len(),
            preopens::get_directories().len()
        ),
        b"stderr" => {
            say("a line\nand another\n");
            "said".to_owned()
        }
        b"last words" => {
            say("Traceback:\n  ValueError: no\n");
            panic!()
        }
        b"exit" => {
            exit::exit(Err(()));
            unreachable!()
        }
        _ => "?".to_owned(),
    }
}

fn say(text: &str) {
    stderr::get_stderr()
        .blocking_write_and_flush(text.as_bytes())
        .expect("standard error takes everything");
}

fn outgoing(text: String) -> Outgoing {
    Outgoing {
        data: text.into_bytes(),
        routing: Routing {
            partition_keys: Vec::new(),
            target: None,
        },
    }
}

export!(Wasi);
