//! Uses all of the contract 1.0 once. Its module was built when 1.0 came out and is kept as it was
//! then: a test loads and runs it for as long as hydrant promises to run such modules.

wit_bindgen::generate!({ path: "../../wit", world: "transform" });

use hydrant::transform::log::{Level, log};
use hydrant::transform::types::{Outgoing, Routing};

struct Contract;

impl Guest for Contract {
    fn configure(config: String) -> Result<(), String> {
        if config != "{}" {
            return Err(format!("wants no configuration and got {config}"));
        }
        Ok(())
    }

    fn transform(info: BatchInfo, batch: Vec<Incoming>) -> Vec<Outcome> {
        log(Level::Info, &format!("{} records", batch.len()));
        batch
            .into_iter()
            .map(|record| outcome(&info, record))
            .collect()
    }
}

/// By the record's first byte.
fn outcome(info: &BatchInfo, record: Incoming) -> Outcome {
    match record.data.first() {
        Some(b'u') => Outcome::Unchanged(routing(&[], None)),
        Some(b'k') => Outcome::Unchanged(routing(&[("a", "1"), ("b", "2")], None)),
        Some(b't') => Outcome::Unchanged(routing(&[], Some("orders"))),
        Some(b'o') => Outcome::Ok(Outgoing {
            data: format!(
                "{} {} {} {}",
                info.delivery_stream,
                record.partition_key,
                record.sequence_number,
                record.approximate_arrival_ms
            )
            .into_bytes(),
            routing: routing(&[("c", "3")], None),
        }),
        Some(b'm') => Outcome::Many(
            ["x", "y"]
                .map(|text| Outgoing {
                    data: text.into(),
                    routing: routing(&[], None),
                })
                .into(),
        ),
        Some(b'd') => Outcome::Dropped,
        Some(b'f') => Outcome::Failed("as asked".to_owned()),
        _ => panic!("an unknown record"),
    }
}

fn routing(keys: &[(&str, &str)], target: Option<&str>) -> Routing {
    Routing {
        partition_keys: keys
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        target: target.map(str::to_owned),
    }
}

export!(Contract);
