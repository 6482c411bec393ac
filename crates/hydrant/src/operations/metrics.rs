//! The names of all metrics. Those that Firehose has mirror its own metrics, as the help
//! texts say (reference, section 14); units end the names.

use std::collections::BTreeMap;

use hydrant_core::retry::BreakerState;

use super::exposition::{Exposition, Number, Type};
use super::snapshot::{
    DeliveryStreamSnapshot, DestinationKind, MemoryHolder, Snapshot, StreamSnapshot,
};
use super::transforms::modules;

type OfDelivery = fn(&DeliveryStreamSnapshot) -> Number;
type OfStream = fn(&StreamSnapshot) -> Number;
type OfHolder = fn(&MemoryHolder) -> u64;

/// What is measured at the destination, named by its kind: `hydrant_delivery_to_s3_bytes_total`.
/// With the end of the name, Firehose's name or what it is, type, and number.
const AT_DESTINATION: [(&str, &str, Type, OfDelivery); 6] = [
    (
        "bytes_total",
        "Bytes of delivered objects, as sent",
        Type::Counter,
        |s| Number::Whole(s.bytes_delivered),
    ),
    (
        "records_total",
        "Records in delivered objects",
        Type::Counter,
        |s| Number::Whole(s.records_delivered),
    ),
    (
        "object_count_total",
        "Delivered objects",
        Type::Counter,
        |s| Number::Whole(s.objects),
    ),
    (
        "success_ratio",
        "Successful deliveries over attempts, since the start of the process",
        Type::Gauge,
        |s| Number::Real(ratio(s.successes, s.attempts)),
    ),
    (
        "data_freshness_seconds",
        "Age of the oldest record that was read and is not yet delivered",
        Type::Gauge,
        |s| Number::Real(s.data_freshness_seconds),
    ),
    (
        "error_object_count_total",
        "Delivered error objects",
        Type::Counter,
        |s| Number::Whole(s.error_objects),
    ),
];

/// What every delivery stream has, whatever its destination.
const OF_DELIVERY_STREAMS: [(&str, &str, Type, OfDelivery); 28] = [
    (
        "hydrant_data_read_from_kinesis_stream_records_total",
        "Records read from the source and done with (DataReadFromKinesisStream.Records)",
        Type::Counter,
        |s| Number::Whole(s.records_read),
    ),
    (
        "hydrant_data_read_from_kinesis_stream_bytes_total",
        "Bytes of these records (DataReadFromKinesisStream.Bytes)",
        Type::Counter,
        |s| Number::Whole(s.bytes_read),
    ),
    (
        "hydrant_records_read_total",
        "Balance: records read. read + added = delivered + dropped + failed",
        Type::Counter,
        |s| Number::Whole(s.records_read),
    ),
    (
        "hydrant_records_added_total",
        "Balance: outputs beyond the first of a record",
        Type::Counter,
        |s| Number::Whole(s.records_added),
    ),
    (
        "hydrant_records_delivered_total",
        "Balance: records in delivered objects",
        Type::Counter,
        |s| Number::Whole(s.records_delivered),
    ),
    (
        "hydrant_records_dropped_total",
        "Balance: records dropped by a processor",
        Type::Counter,
        |s| Number::Whole(s.records_dropped),
    ),
    (
        "hydrant_records_failed_total",
        "Balance: records in error objects",
        Type::Counter,
        |s| Number::Whole(s.records_failed),
    ),
    (
        "hydrant_source_losses_total",
        "Times that the source had lost records before they were delivered",
        Type::Counter,
        |s| Number::Whole(s.losses),
    ),
    (
        "hydrant_records_in_flight",
        "Records read and not yet delivered",
        Type::Gauge,
        |s| Number::Whole(s.records_in_flight),
    ),
    (
        "hydrant_plain_bytes_delivered_total",
        "Bytes of delivered records, before compression and conversion",
        Type::Counter,
        |s| Number::Whole(s.plain_bytes_delivered),
    ),
    (
        "hydrant_ranges_committed_total",
        "Ranges delivered and committed",
        Type::Counter,
        |s| Number::Whole(s.ranges),
    ),
    (
        "hydrant_delivery_attempts_total",
        "Attempts at delivering a range",
        Type::Counter,
        |s| Number::Whole(s.attempts),
    ),
    (
        "hydrant_delivery_successes_total",
        "Successful deliveries of a range",
        Type::Counter,
        |s| Number::Whole(s.successes),
    ),
    (
        "hydrant_lanes",
        "Lanes that are being read",
        Type::Gauge,
        |s| Number::Whole(s.lanes),
    ),
    (
        "hydrant_destination_requests_total",
        "Requests or file operations begun at the destination",
        Type::Counter,
        |s| Number::Whole(s.requests),
    ),
    (
        "hydrant_destination_retries_total",
        "Failed requests after which another followed",
        Type::Counter,
        |s| Number::Whole(s.retries),
    ),
    (
        "hydrant_destination_throttles_total",
        "Retries because the destination asked to slow down",
        Type::Counter,
        |s| Number::Whole(s.throttles),
    ),
    (
        "hydrant_destination_permission_failures_total",
        "Retries because permission was refused",
        Type::Counter,
        |s| Number::Whole(s.permission_failures),
    ),
    (
        "hydrant_destination_missing_failures_total",
        "Retries because the bucket is not there",
        Type::Counter,
        |s| Number::Whole(s.missing_place_failures),
    ),
    (
        "hydrant_destination_retries_held",
        "Retries that wait because the destination answers too little for more of them",
        Type::Gauge,
        |s| Number::Whole(s.retries_held),
    ),
    (
        "hydrant_destination_breaker_openings_total",
        "How often requests were held back because the destination is sick",
        Type::Counter,
        |s| Number::Whole(s.breaker_openings),
    ),
    (
        "hydrant_destination_uploads_aborted_total",
        "Uploads in parts given up because a killed process had left them behind",
        Type::Counter,
        |s| Number::Whole(s.uploads_aborted),
    ),
    (
        "hydrant_source_requests_total",
        "Requests to a remote source",
        Type::Counter,
        |s| Number::Whole(s.source_requests),
    ),
    (
        "hydrant_source_retries_total",
        "Failed requests to a remote source after which another followed",
        Type::Counter,
        |s| Number::Whole(s.source_retries),
    ),
    (
        "hydrant_source_throttles_total",
        "Retries because the source asked to slow down (ThrottledGetRecords and its like)",
        Type::Counter,
        |s| Number::Whole(s.source_throttles),
    ),
    (
        "hydrant_source_permission_failures_total",
        "Retries because the source refused permission",
        Type::Counter,
        |s| Number::Whole(s.source_permission_failures),
    ),
    (
        "hydrant_source_behind_seconds",
        "How far reading is behind the tip of the source (KinesisMillisBehindLatest)",
        Type::Gauge,
        |s| Number::Real(s.source_behind_seconds),
    ),
    (
        "hydrant_delivery_failing",
        "Whether the last thing tried went wrong",
        Type::Gauge,
        |s| Number::Whole(s.last_error.is_some().into()),
    ),
];

/// What every embedded stream has.
const OF_STREAMS: [(&str, &str, Type, OfStream); 8] = [
    (
        "hydrant_stream_incoming_records_total",
        "Records put into the stream since it was made (IncomingRecords)",
        Type::Counter,
        |s| Number::Whole(s.records_put),
    ),
    (
        "hydrant_stream_kept_records",
        "Records that are kept",
        Type::Gauge,
        |s| Number::Whole(s.records_kept),
    ),
    (
        "hydrant_stream_disk_bytes",
        "Bytes of the stream's log",
        Type::Gauge,
        |s| Number::Whole(s.disk_bytes),
    ),
    (
        "hydrant_stream_shards",
        "Shards of the stream",
        Type::Gauge,
        |s| Number::Whole(s.shards),
    ),
    (
        "hydrant_stream_retention_seconds",
        "How long records are kept at least",
        Type::Gauge,
        |s| Number::Real(s.retention_seconds),
    ),
    (
        "hydrant_stream_low_space",
        "Whether puts are refused for lack of space",
        Type::Gauge,
        |s| Number::Whole(s.low_space.into()),
    ),
    (
        "hydrant_stream_quarantined_files",
        "Damaged files of the log that this start copied aside",
        Type::Gauge,
        |s| Number::Whole(s.quarantined_files),
    ),
    (
        "hydrant_stream_lost_records",
        "Acknowledged records that this start lost with damaged files, as far as it is known",
        Type::Gauge,
        |s| Number::Whole(s.records_lost),
    ),
];

/// Writes all metrics in the text format of Prometheus.
pub fn render(snapshot: &Snapshot) -> String {
    let mut out = Exposition::default();
    service(&mut out, snapshot);
    for kind in [
        DestinationKind::S3,
        DestinationKind::Directory,
        DestinationKind::Stdout,
    ] {
        at_destination(&mut out, kind, snapshot);
    }
    for (name, help, metric, number) in OF_DELIVERY_STREAMS {
        let samples = snapshot
            .delivery_streams
            .iter()
            .map(|s| (delivery_stream(s), number(s)));
        out.metric(name, help, metric, samples);
    }
    failing(&mut out, snapshot);
    breakers(&mut out, snapshot);
    modules(&mut out, snapshot);
    for (name, help, metric, number) in OF_STREAMS {
        let samples = snapshot
            .streams
            .iter()
            .map(|s| (vec![("stream", s.name.clone())], number(s)));
        out.metric(name, help, metric, samples);
    }
    out.into_text()
}

fn service(out: &mut Exposition, snapshot: &Snapshot) {
    let memory = &snapshot.memory;
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    out.metric(
        "hydrant_build_info",
        "The version that runs",
        Type::Gauge,
        [(version, Number::Whole(1))],
    );
    let singles = [
        (
            "hydrant_ready",
            "Whether records are taken and delivered",
            Number::Whole(snapshot.ready.into()),
        ),
        (
            "hydrant_uptime_seconds",
            "Time since the start",
            Number::Real(snapshot.uptime_seconds),
        ),
        (
            "hydrant_memory_budget_bytes",
            "Budget for records in flight",
            Number::Whole(memory.capacity_bytes),
        ),
        (
            "hydrant_memory_used_bytes",
            "Bytes of the budget in use",
            Number::Whole(memory.used_bytes),
        ),
        (
            "hydrant_memory_waiting",
            "How many wait for bytes of the budget",
            Number::Whole(memory.waiting),
        ),
    ];
    for (name, help, number) in singles {
        out.metric(name, help, Type::Gauge, [(Vec::new(), number)]);
    }
    let by_holder: [(&str, &str, OfHolder); 3] = [
        (
            "hydrant_memory_held_bytes",
            "Bytes of the budget, by who holds them",
            |one| one.bytes,
        ),
        (
            "hydrant_memory_share_bytes",
            "Bytes of the budget that nobody else may use",
            |one| one.share_bytes,
        ),
        (
            "hydrant_memory_holder_waiting",
            "How many of a holder wait for bytes of the budget",
            |one| one.waiting,
        ),
    ];
    for (name, help, number) in by_holder {
        let samples = memory.holders.iter().map(|one| {
            let label = vec![("holder", one.name.clone())];
            (label, Number::Whole(number(one)))
        });
        out.metric(name, help, Type::Gauge, samples);
    }
}

/// The alarms: each reason stands there with 0 too, so that its end is seen.
fn failing(out: &mut Exposition, snapshot: &Snapshot) {
    type Reasons = fn(&DeliveryStreamSnapshot) -> &BTreeMap<&'static str, u64>;
    let of: [(&str, &str, Reasons); 2] = [
        (
            "hydrant_destination_failing",
            "Whether something fails at the destination now and is tried again, by why",
            |stream| &stream.failing,
        ),
        (
            "hydrant_source_failing",
            "Whether a shard of a remote source fails now and is tried again, by why",
            |stream| &stream.source_failing,
        ),
    ];
    for (name, help, reasons) in of {
        let samples = snapshot.delivery_streams.iter().flat_map(|stream| {
            reasons(stream).iter().map(|(class, count)| {
                let mut labels = delivery_stream(stream);
                labels.push(("class", (*class).to_owned()));
                (labels, Number::Whole(u64::from(*count > 0)))
            })
        });
        out.metric(name, help, Type::Gauge, samples);
    }
}

/// Each state stands there, one of them with 1.
fn breakers(out: &mut Exposition, snapshot: &Snapshot) {
    let samples = snapshot.delivery_streams.iter().flat_map(|stream| {
        stream.breaker.into_iter().flat_map(move |now| {
            BreakerState::ALL.map(|state| {
                let mut labels = delivery_stream(stream);
                labels.push(("state", state.as_str().to_owned()));
                (labels, Number::Whole((state.as_str() == now).into()))
            })
        })
    });
    out.metric(
        "hydrant_destination_breaker",
        "Whether requests to the destination go through: closed all, half_open one at a time, open none",
        Type::Gauge,
        samples,
    );
}

fn at_destination(out: &mut Exposition, kind: DestinationKind, snapshot: &Snapshot) {
    let streams: Vec<&DeliveryStreamSnapshot> = snapshot
        .delivery_streams
        .iter()
        .filter(|stream| stream.destination == kind)
        .collect();
    for (end, help, metric, number) in AT_DESTINATION {
        let name = format!("hydrant_delivery_to_{}_{end}", kind.as_str());
        let help = firehose_name(kind, end)
            .map_or(help.to_owned(), |mirrored| format!("{help} ({mirrored})"));
        let samples = streams.iter().map(|s| (delivery_stream(s), number(s)));
        out.metric(&name, &help, metric, samples);
    }
}

/// What Firehose calls it.
fn firehose_name(kind: DestinationKind, end: &str) -> Option<&'static str> {
    match (kind, end) {
        (DestinationKind::S3, "bytes_total") => Some("DeliveryToS3.Bytes"),
        (DestinationKind::S3, "records_total") => Some("DeliveryToS3.Records"),
        (DestinationKind::S3, "object_count_total") => Some("DeliveryToS3.ObjectCount"),
        (DestinationKind::S3, "success_ratio") => Some("DeliveryToS3.Success"),
        (DestinationKind::S3, "data_freshness_seconds") => Some("DeliveryToS3.DataFreshness"),
        _ => None,
    }
}

fn delivery_stream(stream: &DeliveryStreamSnapshot) -> Vec<(&'static str, String)> {
    vec![("delivery_stream", stream.name.clone())]
}

/// 1 where nothing was tried: nothing has failed.
#[expect(clippy::cast_precision_loss, reason = "a ratio is good to 15 digits")]
fn ratio(successes: u64, attempts: u64) -> f64 {
    if attempts == 0 {
        1.0
    } else {
        successes as f64 / attempts as f64
    }
}
