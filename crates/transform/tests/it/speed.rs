//! A measurement, run by hand:
//! `cargo test --release -p hydrant-transform speed -- --ignored --nocapture`.

use std::time::Instant;

use hydrant_core::outcomes::Overruns;

use crate::support::{Answers as _, batch, example, load};

#[test]
#[ignore = "a measurement, for a quiet machine"]
fn nanoseconds_a_record() {
    for (folder, module) in [("web-events", "web_events.wasm"), ("redact", "redact.wasm")] {
        let config = String::from_utf8(example(folder, "config.json")).unwrap();
        let transform = load(&example(folder, module), &config).unwrap();
        let filler = "x".repeat(330);
        let records: Vec<String> = (0..1000)
            .map(|i| {
                format!(
                    r#"{{"type":"page_view","ts":"2026-03-01T10:00:00Z","session":"s{i}","path":"/products/{i}","email":"user{i}@example.org","user":{{"id":{i},"ip":"192.0.2.7"}},"agent":"{filler}"}}"#
                )
            })
            .collect();
        let batch = batch(&records);
        #[expect(clippy::disallowed_methods, reason = "a measurement of real time")]
        let now = Instant::now;
        let mut best = f64::MAX;
        for _ in 0..30 {
            let start = now();
            let outcomes = transform.apply(&batch, Overruns::Decide);
            let nanos = start.elapsed().as_secs_f64() * 1e9 / 1000.0;
            assert_eq!(outcomes.len(), 1000);
            best = best.min(nanos);
        }
        let bytes = batch.data_bytes() / 1000;
        println!("{folder}: {best:.0} ns a record of {bytes} bytes, 1,000 a batch");
    }
}
