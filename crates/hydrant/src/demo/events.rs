//! Makes web events: nested JSON of about 560 bytes, as a shop's site would send them. Seeded, so
//! the same seed gives the same events. Some are health checks, some are batches, some are broken.

use std::fmt::Write as _;

use crate::seeded::Seeded;

pub(crate) const PAGES: [&str; 8] = [
    "/",
    "/search",
    "/cart",
    "/checkout",
    "/account",
    "/help",
    "/product/espresso-machine",
    "/sale",
];
pub(crate) const COUNTRIES: [&str; 10] =
    ["DE", "US", "FR", "GB", "PL", "NL", "IN", "BR", "JP", "SE"];
pub(crate) const BROWSERS: [&str; 5] = ["Firefox", "Chrome", "Safari", "Edge", "Opera"];
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)";
pub(crate) const KINDS: [&str; 5] = ["page_view", "page_view", "click", "add_to_cart", "purchase"];
pub(crate) const NAMES: [&str; 8] = [
    "ada", "grace", "edsger", "barbara", "donald", "margaret", "alan", "radia",
];

/// How the events of a run should end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Events that should be delivered.
    pub outputs: u64,
    /// Outputs beyond the first of a record.
    pub added: u64,
    /// Health checks.
    pub dropped: u64,
    /// Broken records.
    pub failed: u64,
}

/// The generator of one run.
pub struct Events {
    run: String,
    random: Seeded,
    next: u64,
    start_ms: u64,
    expected: Expected,
}

impl Events {
    /// Events whose ids begin with `run` and whose times begin at `start_ms`.
    pub fn new(run: &str, seed: u64, start_ms: u64) -> Self {
        Self {
            run: run.to_owned(),
            random: Seeded::new(seed),
            next: 0,
            start_ms,
            expected: Expected::default(),
        }
    }

    /// How the events made so far should end.
    pub fn expected(&self) -> Expected {
        self.expected
    }

    /// Writes the next record to `out` and gives its partition key.
    pub fn write(&mut self, out: &mut Vec<u8>) -> String {
        let id = self.next;
        self.next += 1;
        let session = format!("s{:06x}", self.below(5_000));
        let mut text = String::with_capacity(700);
        match self.below(1000) {
            0..=19 => {
                self.expected.dropped += 1;
                let time = self.time(id);
                push(
                    &mut text,
                    format_args!(r#"{{"type":"health_check","ts":"{time}","host":"edge-1"}}"#),
                );
            }
            20..=24 => {
                self.expected.failed += 1;
                let time = self.time(id);
                push(
                    &mut text,
                    format_args!(r#"{{"event_id":"{}-{id}","ts":"{time}","typ"#, self.run),
                );
            }
            25..=44 => self.batch(id, &session, &mut text),
            _ => {
                self.expected.outputs += 1;
                self.event(&format!("{}-{id}", self.run), id, Some(&session), &mut text);
            }
        }
        out.extend_from_slice(text.as_bytes());
        session
    }

    fn batch(&mut self, id: u64, session: &str, text: &mut String) {
        let count = 2 + self.below(4);
        self.expected.outputs += count;
        self.expected.added += count - 1;
        let time = self.time(id);
        push(
            text,
            format_args!(r#"{{"type":"batch","ts":"{time}","session":"{session}","events":["#),
        );
        for i in 0..count {
            if i > 0 {
                text.push(',');
            }
            self.event(&format!("{}-{id}.{i}", self.run), id, None, text);
        }
        text.push_str("]}");
    }

    fn event(&mut self, event_id: &str, id: u64, session: Option<&str>, text: &mut String) {
        let kind = KINDS[self.index(KINDS.len())];
        push(
            text,
            format_args!(r#"{{"event_id":"{event_id}","type":"{kind}""#),
        );
        if let Some(session) = session {
            let time = self.time(id);
            push(
                text,
                format_args!(r#","ts":"{time}","session":"{session}""#),
            );
        }
        let (user, name) = (self.below(100_000), NAMES[self.index(NAMES.len())]);
        let (country, page) = (
            COUNTRIES[self.index(COUNTRIES.len())],
            PAGES[self.index(PAGES.len())],
        );
        let (a, b, duration) = (self.below(256), self.below(256), self.below(30_000));
        push(
            text,
            format_args!(
                r#","user":{{"id":{user},"email":"{name}{user}@example.org","ip":"203.0.{a}.{b}","country":"{country}","plan":"{}"}}"#,
                if user.is_multiple_of(7) {
                    "pro"
                } else {
                    "free"
                }
            ),
        );
        push(
            text,
            format_args!(
                r#","page":{{"path":"{page}","referrer":"https://www.example.com{page}?q={:08x}","duration_ms":{duration}}}"#,
                self.below(u64::from(u32::MAX))
            ),
        );
        let (browser, version) = (BROWSERS[self.index(BROWSERS.len())], 100 + self.below(40));
        push(
            text,
            format_args!(
                r#","client":{{"agent":"{AGENT} {browser}/{version}.0","width":1920,"height":1080}}"#
            ),
        );
        let (cents, items) = (self.below(50_000), 1 + self.below(5));
        push(
            text,
            format_args!(
                r#","amount":{}.{:02},"items":{items},"experiments":["checkout-{}","search-{}"]}}"#,
                cents / 100,
                cents % 100,
                self.below(3),
                self.below(4)
            ),
        );
    }

    fn time(&self, id: u64) -> String {
        let ms = i64::try_from(self.start_ms + id / 3).unwrap_or(0);
        let time = chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default();
        time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }

    fn index(&mut self, len: usize) -> usize {
        self.random.index(len)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }
}

fn push(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use super::Events;

    #[test]
    fn events_are_what_they_are_counted_as() {
        let mut events = Events::new("run", 7, 1_767_225_600_000);
        let (mut outputs, mut dropped, mut failed, mut bytes) = (0, 0, 0, 0);
        for _ in 0..5_000 {
            let mut out = Vec::new();
            events.write(&mut out);
            bytes += out.len();
            match serde_json::from_slice::<serde_json::Value>(&out) {
                Err(_) => failed += 1,
                Ok(event) if event["type"] == "health_check" => dropped += 1,
                Ok(event) if event["type"] == "batch" => {
                    outputs += event["events"].as_array().map_or(0, Vec::len) as u64;
                }
                Ok(event) => {
                    assert!(event["user"]["email"].is_string() && event["ts"].is_string());
                    outputs += 1;
                }
            }
        }
        let expected = events.expected();
        assert_eq!(
            (expected.outputs, expected.dropped, expected.failed),
            (outputs, dropped, failed)
        );
        assert_eq!(5_000 + expected.added, outputs + dropped + failed);
        assert!(dropped > 0 && failed > 0 && expected.added > 0);
        assert!(
            (450..700).contains(&(bytes / 5_000)),
            "{} bytes a record",
            bytes / 5_000
        );
    }

    #[test]
    fn one_seed_gives_the_same_events() {
        let make = || {
            let (mut events, mut out) = (Events::new("a", 1, 0), Vec::new());
            for _ in 0..100 {
                events.write(&mut out);
            }
            out
        };
        assert_eq!(make(), make());
    }
}
