//! Takes the snapshot of a running service.

use std::sync::Arc;
use std::time::Duration;

use hydrant_core::budget::{Budget, Holder};
use hydrant_core::retry::{BreakerState, StatusSnapshot};
use hydrant_log::repair::Lost;
use hydrant_log::stream::{Start, Stream};
use hydrant_pipeline::stream::told_to_stop;
use hydrant_transform::{PROBLEMS, VERDICTS};
use tokio::sync::watch;

use super::server::Server;
use super::snapshot::{
    DeliveryStreamSnapshot, DestinationKind, MemoryHolder, MemorySnapshot, Snapshot,
    StreamSnapshot, TransformSnapshot,
};
use crate::delivery::Delivery;
use crate::service::Service;
use crate::stages::Sink;

/// Serves the operations pages of a service until `ended` turns true. From `stopping` on it is not
/// ready any more.
pub async fn serve_service(
    server: Server,
    service: Arc<Service>,
    stopping: watch::Receiver<bool>,
    mut ended: watch::Receiver<bool>,
) {
    let clock = service.clock.clone();
    let source = Arc::new(move || snapshot(&service, !*stopping.borrow()));
    server
        .serve(source, clock, async move { told_to_stop(&mut ended).await })
        .await;
}

fn snapshot(service: &Service, ready: bool) -> Snapshot {
    let now_ms = service.clock.wall_ms();
    let deliveries = service
        .deliveries
        .iter()
        .map(|delivery| delivery_stream(delivery, now_ms));
    let mut streams: Vec<StreamSnapshot> = service
        .streams
        .list()
        .iter()
        .map(|stream| embedded(stream))
        .collect();
    streams.sort_by(|a, b| a.name.cmp(&b.name));
    Snapshot {
        ready,
        uptime_seconds: service.clock.monotonic().as_secs_f64(),
        delivery_streams: deliveries.collect(),
        streams,
        memory: memory(&service.memory.budget),
    }
}

fn delivery_stream(delivery: &Delivery, now_ms: u64) -> DeliveryStreamSnapshot {
    let status = delivery.status.snapshot();
    let sink = match &delivery.versions.sink {
        Sink::S3(sink) => sink.status().snapshot(),
        Sink::Directory(sink) => sink.status().snapshot(),
        // Has no retries to count.
        Sink::Stdout(_) => StatusSnapshot::default(),
    };
    let source = delivery.source_snapshot();
    let oldest_ms = status.oldest_in_flight_ms.unwrap_or(now_ms);
    let totals = status.totals;
    DeliveryStreamSnapshot {
        name: delivery.name().to_owned(),
        source: delivery.stream_name().to_owned(),
        destination: match &delivery.versions.sink {
            Sink::S3(_) => DestinationKind::S3,
            Sink::Directory(_) => DestinationKind::Directory,
            Sink::Stdout(_) => DestinationKind::Stdout,
        },
        version: delivery.version(),
        lanes: status.lanes,
        records_read: totals.read,
        bytes_read: totals.read_bytes,
        records_added: totals.added,
        records_delivered: totals.delivered,
        records_dropped: totals.dropped,
        records_failed: totals.failed,
        bytes_delivered: totals.delivered_bytes,
        plain_bytes_delivered: totals.delivered_plain_bytes,
        objects: totals.objects,
        error_objects: totals.error_objects,
        losses: totals.losses,
        ranges: totals.ranges,
        attempts: status.attempts,
        successes: status.successes,
        records_in_flight: status.in_flight,
        data_freshness_seconds: seconds(now_ms.saturating_sub(oldest_ms)),
        requests: sink.attempts,
        retries: sink.retries,
        throttles: sink.throttles,
        permission_failures: sink.auth_failures,
        missing_place_failures: sink.missing_places,
        source_requests: source.requests.attempts,
        source_retries: source.requests.retries,
        source_throttles: source.requests.throttles,
        source_permission_failures: source.requests.auth_failures,
        source_behind_seconds: seconds(source.behind_ms),
        failing: sink.failing,
        breaker: sink.breaker.map(BreakerState::as_str),
        breaker_openings: sink.breaker_openings,
        retries_held: sink.retries_held,
        uploads_aborted: delivery.versions.sink.aborted_uploads(),
        source_failing: source.requests.failing,
        transforms: transforms(delivery),
        last_error: status
            .last_error
            .or(sink.last_error)
            .or(source.requests.last_error),
    }
}

fn transforms(delivery: &Delivery) -> Vec<TransformSnapshot> {
    let named = |names: &[&'static str], counts: &[u64]| {
        let names = names.iter().copied();
        names.zip(counts.iter().copied()).collect()
    };
    let all = delivery.versions.tallies().snapshots().into_iter();
    all.map(|((processor, module), tally)| TransformSnapshot {
        processor,
        module,
        calls: tally.calls,
        reused_calls: tally.reused,
        broken_promises: tally.broken_promises,
        records: tally.records,
        cpu_seconds: tally.cpu.as_secs_f64(),
        nanoseconds_per_record: tally.last_nanos_per_record,
        verdicts: named(&VERDICTS, &tally.verdicts),
        problems: named(&PROBLEMS, &tally.problems),
        peak_memory_bytes: tally.peak_memory as u64,
    })
    .collect()
}

fn embedded(stream: &Stream) -> StreamSnapshot {
    // LSNs count the records of all shards from 1.
    let last_lsn = stream.shards().first().and_then(|shard| {
        let end = stream.start(shard.id, Start::Latest).ok()?;
        stream.index_of(shard.id, end).ok()
    });
    let records_put = last_lsn.unwrap_or(0);
    StreamSnapshot {
        name: stream.name().to_owned(),
        shards: stream.shards().len() as u64,
        records_put,
        records_kept: (records_put + 1).saturating_sub(stream.oldest_lsn().max(1)),
        disk_bytes: stream.bytes_on_disk(),
        retention_seconds: seconds(stream.retention_ms()),
        low_space: stream.low_space(),
        quarantined_files: stream.repaired().damaged.len() as u64,
        records_lost: stream.repaired().lost.iter().map(Lost::records).sum(),
    }
}

fn memory(budget: &Budget) -> MemorySnapshot {
    let holder = |one: Holder| MemoryHolder {
        name: one.name,
        bytes: one.held as u64,
        share_bytes: one.share as u64,
        waiting: one.waiting as u64,
    };
    MemorySnapshot {
        capacity_bytes: budget.capacity() as u64,
        used_bytes: budget.used() as u64,
        waiting: budget.waiting() as u64,
        holders: budget.holders().into_iter().map(holder).collect(),
    }
}

fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}
