//! The processors that need no code of the user's: they take records apart, decompress, parse,
//! filter, and find partition keys.
//!
//! Each is a pure function of one record and its settings, so a redo repeats it. What every one of
//! them gives goes through `each`, which counts and bounds it.

mod each;

mod deaggregate;

mod decompress;

mod cloudwatch;

mod jq;

mod plain;

mod metadata;

mod filter;

mod csv;

mod log;

mod delimiter;

mod settings;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

pub use cloudwatch::CloudWatchLogs;
pub use csv::{ColumnType, CsvSettings, CsvToJson};
pub use deaggregate::{RecordDeaggregation, SubRecords};
pub use decompress::{Decompression, Packing};
pub use delimiter::AppendDelimiter;
pub use filter::Filter;
pub use log::{LogFormat, LogToJson};
pub use metadata::MetadataExtraction;
pub use settings::{Builtin, LogForm};
