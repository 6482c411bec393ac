//! The metrics of modules: what they are asked, what they answer, what they take.

use std::collections::BTreeMap;

use super::exposition::{Exposition, Number, Type};
use super::snapshot::{DeliveryStreamSnapshot, Snapshot, TransformSnapshot};

type OfModule = fn(&TransformSnapshot) -> Number;
type ByWord = fn(&TransformSnapshot) -> &BTreeMap<&'static str, u64>;
type Labels = Vec<(&'static str, String)>;

/// What every module has.
const OF_MODULES: [(&str, &str, Type, OfModule); 7] = [
    (
        "hydrant_transform_calls_total",
        "Calls of the module: one for each micro-batch, more where calls fail or ranges are made again",
        Type::Counter,
        |one| Number::Whole(one.calls),
    ),
    (
        "hydrant_transform_reused_calls_total",
        "Calls that an earlier call's instance took (instances: reuse)",
        Type::Counter,
        |one| Number::Whole(one.reused_calls),
    ),
    (
        "hydrant_transform_broken_promises_total",
        "Times that an instance which was used again failed where a new one did not (instances: reuse)",
        Type::Counter,
        |one| Number::Whole(one.broken_promises),
    ),
    (
        "hydrant_transform_records_total",
        "Records of all calls",
        Type::Counter,
        |one| Number::Whole(one.records),
    ),
    (
        "hydrant_transform_cpu_seconds_total",
        "CPU time of all calls, with the making of instances",
        Type::Counter,
        |one| Number::Real(one.cpu_seconds),
    ),
    (
        "hydrant_transform_nanoseconds_per_record",
        "CPU time a record of the newest call",
        Type::Gauge,
        |one| Number::Whole(one.nanoseconds_per_record),
    ),
    (
        "hydrant_transform_peak_memory_bytes",
        "The most linear memory that a call had, since the start",
        Type::Gauge,
        |one| Number::Whole(one.peak_memory_bytes),
    ),
];

/// What is counted by a word: the metric, its help, the label, and the counts.
const BY_WORD: [(&str, &str, &str, ByWord); 2] = [
    (
        "hydrant_transform_verdicts_total",
        "Records by what the module said of them, in calls that went well",
        "verdict",
        |one| &one.verdicts,
    ),
    (
        "hydrant_transform_problems_total",
        "Calls that gave nothing, by why: a trap, an overrun of time, a limit, an answer that cannot be used",
        "problem",
        |one| &one.problems,
    ),
];

/// Adds all of them.
pub(super) fn modules(out: &mut Exposition, snapshot: &Snapshot) {
    let modules: Vec<(Labels, &TransformSnapshot)> = snapshot
        .delivery_streams
        .iter()
        .flat_map(|stream| {
            stream
                .transforms
                .iter()
                .map(|one| (labels(stream, one), one))
        })
        .collect();
    for (name, help, metric, number) in OF_MODULES {
        let samples = modules.iter();
        let samples = samples.map(|(labels, one)| (labels.clone(), number(one)));
        out.metric(name, help, metric, samples);
    }
    for (name, help, label, counts) in BY_WORD {
        let samples = modules.iter().flat_map(|(labels, one)| {
            counts(one).iter().map(move |(word, count)| {
                let mut labels = labels.clone();
                labels.push((label, (*word).to_owned()));
                (labels, Number::Whole(*count))
            })
        });
        out.metric(name, help, Type::Counter, samples);
    }
}

fn labels(stream: &DeliveryStreamSnapshot, one: &TransformSnapshot) -> Labels {
    vec![
        ("delivery_stream", stream.name.clone()),
        ("processor", one.processor.to_string()),
        ("module", one.module.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::exposition::Exposition;
    use super::super::snapshot::{DeliveryStreamSnapshot, Snapshot, TransformSnapshot};
    use super::modules;

    #[test]
    fn a_module_is_named_by_stream_place_and_digest() {
        let transform = TransformSnapshot {
            processor: 1,
            module: "ab".to_owned(),
            calls: 3,
            problems: [("trap", 2)].into(),
            ..TransformSnapshot::default()
        };
        let snapshot = Snapshot {
            delivery_streams: vec![DeliveryStreamSnapshot {
                name: "clicks".to_owned(),
                transforms: vec![transform],
                ..DeliveryStreamSnapshot::default()
            }],
            ..Snapshot::default()
        };
        let mut out = Exposition::default();
        modules(&mut out, &snapshot);
        let text = out.into_text();
        for line in [
            "hydrant_transform_calls_total{delivery_stream=\"clicks\",processor=\"1\",module=\"ab\"} 3\n",
            "hydrant_transform_problems_total{delivery_stream=\"clicks\",processor=\"1\",module=\"ab\",problem=\"trap\"} 2\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
