//! Cleans a stream of web events: redacts fields, drops health checks, splits batches into their
//! events, and fails what is no event.

use hydrant_transform_sdk::json::{Object, Paths};
use hydrant_transform_sdk::{BatchInfo, Outcome, Output, Record, Transform};
use serde::Deserialize;

const REDACTED: &str = "\"[redacted]\"";
/// What an event of a batch takes over from the batch, unless it has its own.
const INHERITED: [&str; 2] = ["ts", "session"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    fields: Vec<String>,
}

struct WebEvents {
    redacted: Paths,
}

impl Transform for WebEvents {
    fn configure(config: &str) -> Result<Self, String> {
        let config: Config = serde_json::from_str(config).map_err(|e| e.to_string())?;
        Ok(Self {
            redacted: Paths::parse(&config.fields)?,
        })
    }

    fn transform(&self, record: Record, _info: &BatchInfo) -> Outcome {
        self.event(&record.data).unwrap_or_else(Outcome::Failed)
    }
}

impl WebEvents {
    fn event(&self, record: &[u8]) -> Result<Outcome, String> {
        let event = Object::parse(record)?;
        match kind(&event)?.as_str() {
            "health_check" => Ok(Outcome::Dropped),
            "batch" => self.split(&event),
            _ => Ok(match self.redacted.replace(&event, REDACTED)? {
                Some(text) => Outcome::changed(text),
                None => Outcome::Unchanged,
            }),
        }
    }

    fn split(&self, batch: &Object<'_>) -> Result<Outcome, String> {
        let events = batch
            .get_array("events")
            .ok_or("a `batch` needs an array `events`")?;
        let mut outputs = Vec::with_capacity(events.len());
        for (i, event) in events.into_iter().enumerate() {
            let place = |problem: String| format!("event {i} of the batch: {problem}");
            let event = Object::parse(event.as_bytes()).map_err(place)?;
            if kind(&event).map_err(place)? == "health_check" {
                continue;
            }
            let added: Vec<(&str, &str)> = INHERITED
                .iter()
                .filter(|name| event.get(name).is_none())
                .filter_map(|name| batch.get(name).map(|value| (*name, value)))
                .collect();
            let whole = event.with(&added);
            let redacted = self
                .redacted
                .replace(&Object::parse(whole.as_bytes())?, REDACTED)?;
            outputs.push(Output::new(redacted.unwrap_or(whole)));
        }
        Ok(Outcome::Split(outputs))
    }
}

fn kind(event: &Object<'_>) -> Result<String, String> {
    event
        .get_string("type")
        .ok_or_else(|| "the event has no `type`".to_owned())
}

hydrant_transform_sdk::export!(WebEvents);
