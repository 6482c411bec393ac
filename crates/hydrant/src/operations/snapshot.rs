//! The service at one moment, as the metrics and the status page show it. Its JSON form is what
//! `/api/v1/streams` answers.

use std::collections::BTreeMap;

use serde::Serialize;

/// The service at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshot {
    /// Whether it takes and delivers records: not while it starts, nor while it drains.
    pub ready: bool,
    /// Time since it started.
    pub uptime_seconds: f64,
    /// Delivery streams, in the order of their names.
    pub delivery_streams: Vec<DeliveryStreamSnapshot>,
    /// Embedded streams, in the order of their names.
    pub streams: Vec<StreamSnapshot>,
    /// The budget for records in flight.
    pub memory: MemorySnapshot,
}

/// Where a delivery stream delivers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationKind {
    /// A bucket.
    S3,
    /// A folder.
    #[default]
    Directory,
    /// The standard output.
    Stdout,
}

impl DestinationKind {
    /// Its word in the configuration and in names of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Directory => "directory",
            Self::Stdout => "stdout",
        }
    }
}

/// A delivery stream. Counts are since the start of the process, over ranges that are committed:
/// `records_read + records_added == records_delivered + records_dropped + records_failed`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DeliveryStreamSnapshot {
    /// Its name.
    pub name: String,
    /// The stream that it reads.
    pub source: String,
    /// Where it delivers to.
    pub destination: DestinationKind,
    /// The version in force: a digest of all that decides the output.
    pub version: String,
    /// Lanes that are being read.
    pub lanes: u64,
    /// Input records.
    pub records_read: u64,
    /// Bytes of input records.
    pub bytes_read: u64,
    /// Outputs beyond the first of a record.
    pub records_added: u64,
    /// Records in delivered objects.
    pub records_delivered: u64,
    /// Records dropped by a processor.
    pub records_dropped: u64,
    /// Records in error objects.
    pub records_failed: u64,
    /// Bytes of delivered objects, as sent.
    pub bytes_delivered: u64,
    /// Bytes of delivered records, before compression and conversion.
    pub plain_bytes_delivered: u64,
    /// Delivered objects.
    pub objects: u64,
    /// Delivered error objects.
    pub error_objects: u64,
    /// Times that the source had lost records before they were delivered.
    pub losses: u64,
    /// Ranges committed.
    pub ranges: u64,
    /// Attempts at delivering a range.
    pub attempts: u64,
    /// Successful ones.
    pub successes: u64,
    /// Records read and not yet delivered.
    pub records_in_flight: u64,
    /// Age of the oldest record that was read and is not yet delivered; 0 where there is none.
    pub data_freshness_seconds: f64,
    /// Requests or file operations begun at the destination.
    pub requests: u64,
    /// Failed ones, after which another followed.
    pub retries: u64,
    /// Retries because the destination asked to slow down.
    pub throttles: u64,
    /// Retries because permission was refused.
    pub permission_failures: u64,
    /// Retries because the bucket is not there.
    pub missing_place_failures: u64,
    /// Requests to a remote source.
    pub source_requests: u64,
    /// Failed ones, after which another followed.
    pub source_retries: u64,
    /// Retries because the source asked to slow down.
    pub source_throttles: u64,
    /// Retries because permission was refused.
    pub source_permission_failures: u64,
    /// How far the reading of a remote source is behind its tip.
    pub source_behind_seconds: f64,
    /// How many requests or file operations fail now, and are tried again, by why.
    pub failing: BTreeMap<&'static str, u64>,
    /// Whether requests to the destination go through (`closed`, `half_open`, `open`); none where
    /// nothing would stop them.
    pub breaker: Option<&'static str>,
    /// How often the breaker opened.
    pub breaker_openings: u64,
    /// Retries that wait now, since the destination answers too little for more of them.
    pub retries_held: u64,
    /// Uploads in parts that were given up because a killed process had left them behind.
    pub uploads_aborted: u64,
    /// How many shards of a remote source fail now, and are tried again, by why.
    pub source_failing: BTreeMap<&'static str, u64>,
    /// What its modules do.
    pub transforms: Vec<TransformSnapshot>,
    /// What went wrong last, until it goes right again.
    pub last_error: Option<String>,
}

/// A module of a delivery stream. Counts are since the start of the process, over all calls: one for
/// each micro-batch, and more where calls fail or ranges are made again.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TransformSnapshot {
    /// Its place among the processors, from 0.
    pub processor: usize,
    /// Its digest.
    pub module: String,
    /// Calls.
    pub calls: u64,
    /// Those of them that an earlier call's instance took (`instances: reuse`).
    pub reused_calls: u64,
    /// Times that such an instance failed where a new one did not.
    pub broken_promises: u64,
    /// Records of all calls.
    pub records: u64,
    /// CPU time of all calls.
    pub cpu_seconds: f64,
    /// CPU time a record of the newest call.
    pub nanoseconds_per_record: u64,
    /// Records by what the module said of them, in calls that went well.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// Calls that gave nothing, by why.
    pub problems: BTreeMap<&'static str, u64>,
    /// The most linear memory that a call had.
    pub peak_memory_bytes: u64,
}

/// An embedded stream.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StreamSnapshot {
    /// Its name.
    pub name: String,
    /// Number of shards.
    pub shards: u64,
    /// Records put since it was made.
    pub records_put: u64,
    /// Records that are kept.
    pub records_kept: u64,
    /// Bytes of its log.
    pub disk_bytes: u64,
    /// How long records are kept at least.
    pub retention_seconds: f64,
    /// Whether puts are refused for lack of space.
    pub low_space: bool,
    /// Damaged files of its log that were copied aside when it was opened (`on_corruption`).
    pub quarantined_files: u64,
    /// Records that were lost with them, as far as it is known.
    pub records_lost: u64,
}

/// The budget for records in flight.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MemorySnapshot {
    /// Bytes there are.
    pub capacity_bytes: u64,
    /// Bytes in use.
    pub used_bytes: u64,
    /// How many wait for bytes.
    pub waiting: u64,
    /// Who holds them.
    pub holders: Vec<MemoryHolder>,
}

/// Who holds how much of the budget.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MemoryHolder {
    /// Its name.
    pub name: String,
    /// Bytes that it holds.
    pub bytes: u64,
    /// Bytes that nobody else may use.
    pub share_bytes: u64,
    /// How many of it wait for bytes.
    pub waiting: u64,
}
