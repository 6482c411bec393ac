//! The checked configuration: values that cannot be wrong any more. Paths are absolute.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hydrant_core::units::ByteSize;
use hydrant_encode::Format;
use hydrant_log::OnCorruption;
use hydrant_sink::s3::Checksum;
use hydrant_transform::builtin::Builtin;
use hydrant_transform::{Instances, OnTrap};

use super::fault::Fault;
use super::secret::Secret;

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Firehose and Kinesis API.
    pub api: ApiConfig,
    /// The operations server.
    pub operations: OperationsConfig,
    /// Where the log, positions and intents are.
    pub data_dir: PathBuf,
    /// What a start does where records of an embedded stream are damaged.
    pub on_corruption: OnCorruption,
    /// The budget for records in flight.
    pub memory: ByteSize,
    /// Embedded streams by name.
    pub streams: BTreeMap<String, StreamConfig>,
    /// Delivery streams by name.
    pub delivery_streams: BTreeMap<String, DeliveryStreamConfig>,
    /// What is allowed and worth a look all the same.
    pub notes: Vec<Fault>,
}

/// The API.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Where to listen. Loopback only, as long as there is no authentication.
    pub listen: SocketAddr,
    /// How requests prove who they are from.
    pub auth: Auth,
    /// The region in ARNs.
    pub region: String,
}

/// How requests prove who they are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    None,
}

/// The operations server.
#[derive(Clone, Debug)]
pub struct OperationsConfig {
    /// Where to listen.
    pub listen: SocketAddr,
}

/// An embedded stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    /// Number of shards.
    pub shards: u32,
    /// How long records are kept at least.
    pub retention: Duration,
}

/// A delivery stream.
#[derive(Clone, Debug)]
pub struct DeliveryStreamConfig {
    /// Its name.
    pub name: String,
    /// Where records come from.
    pub source: SourceConfig,
    /// What is done with them, in order.
    pub processors: Vec<ProcessorConfig>,
    /// Where they go.
    pub destination: DestinationConfig,
}

/// Where records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceConfig {
    /// A Kinesis stream, embedded or remote.
    Kinesis(KinesisConfig),
}

/// A Kinesis stream as a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KinesisConfig {
    /// Its name, or for a remote one its ARN. It may be made later.
    pub stream: String,
    /// Where it is.
    pub place: StreamPlace,
    /// Where a new lane starts.
    pub start: Start,
    /// What happens to aggregates of the Kinesis Producer Library.
    pub deaggregation: Deaggregation,
}

/// Where a Kinesis stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamPlace {
    /// In this service.
    Embedded,
    /// At AWS, or at a server with its API.
    Remote(RemoteConfig),
}

/// How a remote Kinesis is reached and read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteConfig {
    /// Its region; else what the environment says.
    pub region: Option<String>,
    /// URL of a compatible server; none for AWS.
    pub endpoint: Option<String>,
    /// Fixed keys; else the usual chain of the AWS SDKs.
    pub credentials: Option<Credentials>,
    /// ARN of a role to take on.
    pub role_arn: Option<String>,
    /// How often a shard is asked that had nothing new.
    pub poll_interval: Duration,
}

/// Where a new lane starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that is kept.
    TrimHorizon,
    /// After what is there now.
    Latest,
    /// At the first record that arrived then or later, milliseconds since the epoch.
    At(u64),
}

/// What happens to aggregates of the Kinesis Producer Library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deaggregation {
    /// Passed on as they are.
    None,
    /// Taken apart; no user record is ever dropped.
    KeepAll,
    /// Taken apart as the Kinesis Client Library does: user records that do not belong to the shard
    /// discard their aggregate.
    Strict,
}

/// What is done with records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessorConfig {
    /// A WebAssembly transform.
    Wasm(WasmConfig),
    /// One that is built in.
    Builtin(Builtin),
}

/// A WebAssembly transform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WasmConfig {
    /// The module.
    pub module: Module,
    /// Its configuration as canonical JSON: no spaces, members in order of their names.
    pub config_json: String,
    /// Memory of a call.
    pub memory: ByteSize,
    /// Time of a call.
    pub timeout: Duration,
    /// Whether a component may import WASI, of which it gets an empty one.
    pub wasi: bool,
    /// How long its instances live.
    pub instances: Instances,
    /// What becomes of a micro-batch of which every record fails in the module.
    pub on_trap: OnTrap,
}

/// Where a module is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Module {
    /// In a file.
    File(PathBuf),
    /// In the store of versions, by digest.
    Stored(String),
}

/// Where records go.
#[derive(Clone, Debug)]
pub enum DestinationConfig {
    /// A bucket.
    S3(S3Config),
    /// A folder.
    Directory(DirectoryConfig),
    /// The standard output.
    Stdout(ObjectConfig),
}

impl KinesisConfig {
    /// The name of the stream, where it is embedded.
    pub fn embedded(&self) -> Option<&str> {
        matches!(self.place, StreamPlace::Embedded).then_some(self.stream.as_str())
    }
}

impl SourceConfig {
    /// The name of the embedded stream that is read, if it is one.
    pub fn embedded(&self) -> Option<&str> {
        let Self::Kinesis(kinesis) = self;
        kinesis.embedded()
    }
}

impl DestinationConfig {
    /// What objects are like and when they are ended.
    pub fn objects(&self) -> &ObjectConfig {
        match self {
            Self::S3(s3) => &s3.objects,
            Self::Directory(directory) => &directory.objects,
            Self::Stdout(objects) => objects,
        }
    }
}

/// A bucket.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// Its name.
    pub bucket: String,
    /// Its region; else what the environment says.
    pub region: Option<String>,
    /// URL of an S3-compatible server; none for AWS.
    pub endpoint: Option<String>,
    /// Whether the bucket is in the path; by default with an endpoint.
    pub force_path_style: Option<bool>,
    /// Fixed keys; else the usual chain of the AWS SDKs.
    pub credentials: Option<Credentials>,
    /// The checksum of every object.
    pub checksum: Checksum,
    /// How old an upload in parts is when it is given up; never without one.
    pub abort_uploads_after: Option<Duration>,
    /// What objects are like.
    pub objects: ObjectConfig,
}

/// Fixed keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The access key's id.
    pub access_key_id: Secret,
    /// The secret key.
    pub secret_access_key: Secret,
    /// The token of temporary keys.
    pub session_token: Option<Secret>,
}

/// A folder.
#[derive(Clone, Debug)]
pub struct DirectoryConfig {
    /// The folder; made where it is missing.
    pub path: PathBuf,
    /// What objects are like.
    pub objects: ObjectConfig,
}

/// What objects are like, what they are called, and when they are ended.
#[derive(Clone, Debug)]
pub struct ObjectConfig {
    /// What keys begin with.
    pub prefix: Option<String>,
    /// What keys of the error output begin with.
    pub error_output_prefix: Option<String>,
    /// Replaces the default extension.
    pub file_extension: Option<String>,
    /// Most partitions of one shard at a time; `None`: as many as there are.
    pub max_active_partitions: Option<u32>,
    /// Format and compression.
    pub format: Format,
    /// When an object is ended.
    pub buffering_hints: BufferingHints,
}

/// When an object is ended: whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferingHints {
    /// Bytes after the transform and before compression.
    pub size: ByteSize,
    /// Time from the first record read.
    pub interval: Duration,
}
