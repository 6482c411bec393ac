//! Records to try a transform with: lines of a file, or what an error object kept.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use hydrant_core::{Position, Records, RecordsBuilder};
use hydrant_pipeline::plan::MicroBatch;
use serde::Deserialize;

use super::usage;

/// Most that is read: everything is held at once.
const INPUT_MAX_BYTES: u64 = 1 << 30;
/// When records arrived that say nothing of it: 2026-01-01 00:00 UTC, a millisecond apart.
pub(crate) const FIRST_ARRIVAL_MS: u64 = 1_767_225_600_000;

/// A record to try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) data: Vec<u8>,
    pub(crate) partition_key: String,
    pub(crate) arrival_ms: Option<u64>,
    pub(crate) position: Option<Position>,
    /// What an error object says of it.
    pub(crate) before: Option<Before>,
}

/// The failure that an error object tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Before {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) module: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorLine {
    raw_data: String,
    #[serde(alias = "lastErrorCode", default)]
    error_code: String,
    #[serde(alias = "lastErrorMessage", default)]
    error_message: String,
    arrival_timestamp: Option<u64>,
    sequence_number: Option<String>,
    sub_sequence_number: Option<u64>,
    module_digest: Option<String>,
    /// Another line has the record.
    raw_data_at_output_index: Option<u32>,
    /// The line reports a loss.
    lost_after: Option<String>,
}

impl ErrorLine {
    fn has_record(&self) -> bool {
        self.raw_data_at_output_index.is_none() && self.lost_after.is_none()
    }
}

/// One record for each line that is not empty; `-` is standard input.
pub(crate) fn lines(path: &Path) -> anyhow::Result<Vec<Trial>> {
    let bytes = read(path)?;
    let lines = bytes.split(|byte| *byte == b'\n');
    let records = lines.filter(|line| !line.is_empty()).map(|line| Trial {
        data: line.to_owned(),
        ..Trial::default()
    });
    Ok(records.collect())
}

/// The records of an error object, as they came from the source: before any transform. One of which
/// several outputs failed is there once.
pub(crate) fn of_error_object(path: &Path) -> anyhow::Result<Vec<Trial>> {
    let bytes = read(path)?;
    let mut records = Vec::new();
    for (i, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let wrong = |what: String| usage(format!("{}:{}: {what}", path.display(), i + 1));
        let line: ErrorLine = serde_json::from_slice(line)
            .map_err(|e| wrong(format!("is no line of an error object: {e}")))?;
        if !line.has_record() {
            continue;
        }
        let data = base64_simd::STANDARD
            .decode_to_vec(&line.raw_data)
            .map_err(|_| wrong("`rawData` is not base64".to_owned()))?;
        let position = line
            .sequence_number
            .as_deref()
            .and_then(Position::from_decimal);
        records.push(Trial {
            data,
            partition_key: String::new(),
            arrival_ms: line.arrival_timestamp,
            position: position.map(|at| at.with_sub(line.sub_sequence_number.unwrap_or(0))),
            before: Some(Before {
                code: line.error_code,
                message: line.error_message,
                module: line.module_digest,
            }),
        });
    }
    Ok(records)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin()
            .take(INPUT_MAX_BYTES + 1)
            .read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(INPUT_MAX_BYTES + 1).read_to_end(&mut bytes))
    };
    read.map_err(|e| usage(format!("{} cannot be read: {e}", path.display())))?;
    if bytes.len() as u64 > INPUT_MAX_BYTES {
        return Err(usage(format!(
            "{} is larger than {INPUT_MAX_BYTES} bytes: try a part of it",
            path.display()
        )));
    }
    Ok(bytes)
}

/// A block of records; `first` is the number of the first one, for those that have no position.
pub(crate) fn block(records: &[Trial], first: usize) -> Records {
    let bytes = records.iter().map(|record| record.data.len()).sum();
    let mut builder = RecordsBuilder::with_capacity(records.len(), bytes);
    for (i, record) in records.iter().enumerate() {
        let number = (first + i) as u64;
        builder.push(
            record.position.unwrap_or(Position::from_u64(number + 1)),
            record.arrival_ms.unwrap_or(FIRST_ARRIVAL_MS + number),
            record.partition_key.as_bytes(),
            &record.data,
        );
    }
    builder.build()
}

/// Micro-batches as the service makes them: by number and bytes.
pub(crate) fn batches(records: &[Trial]) -> Vec<&[Trial]> {
    let limit = MicroBatch::default();
    let (mut batches, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (i, record) in records.iter().enumerate() {
        bytes += record.data.len();
        if i + 1 - start == limit.records || bytes >= limit.bytes {
            batches.push(&records[start..=i]);
            (start, bytes) = (i + 1, 0);
        }
    }
    if start < records.len() {
        batches.push(&records[start..]);
    }
    batches
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{Trial, batches, block, of_error_object};

    #[test]
    fn batches_end_by_number_and_by_bytes() {
        let of = |bytes: usize| Trial {
            data: vec![b'x'; bytes],
            ..Trial::default()
        };
        let small: Vec<Trial> = (0..2_500).map(|_| of(1)).collect();
        let sizes =
            |records: &[Trial]| batches(records).iter().map(|b| b.len()).collect::<Vec<_>>();
        assert_eq!(sizes(&small), [1_000, 1_000, 500]);
        let large: Vec<Trial> = (0..5).map(|_| of(200 << 10)).collect();
        assert_eq!(sizes(&large), [3, 2]);
        assert_eq!(sizes(&[of(1 << 20), of(1)]), [1, 1]);
        assert!(sizes(&[]).is_empty());
    }

    #[test]
    fn a_record_is_tried_once_however_many_of_its_outputs_failed() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for line in [
            r#"{"errorCode":"X","rawData":"YQ==","sequenceNumber":"42","outputIndex":1}"#,
            r#"{"errorCode":"X","rawData":"","rawDataAtOutputIndex":1,"sequenceNumber":"42","outputIndex":2}"#,
            r#"{"errorCode":"Source.RecordsLost","rawData":"","lostAfter":"42","lostThrough":"90"}"#,
            r#"{"errorCode":"X","rawData":"","sequenceNumber":"91","outputIndex":0}"#,
        ] {
            writeln!(file, "{line}").unwrap();
        }
        let records = of_error_object(file.path()).unwrap();
        let data: Vec<&[u8]> = records.iter().map(|record| &record.data[..]).collect();
        assert_eq!(data, [&b"a"[..], b""]);
    }

    #[test]
    fn an_error_object_gives_its_records_back() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(
            file,
            r#"{{"attemptsMade":1,"arrivalTimestamp":5,"errorCode":"Transform.Trapped","errorMessage":"m","rawData":"AP8=","moduleDigest":"d","lane":"l","sequenceNumber":"42","subSequenceNumber":3,"outputIndex":0}}"#
        )
        .unwrap();
        let records = of_error_object(file.path()).unwrap();
        let before = records[0].before.as_ref().unwrap();
        assert_eq!(
            (before.code.as_str(), before.message.as_str()),
            ("Transform.Trapped", "m")
        );
        let block = block(&records, 0);
        assert_eq!(block.data(0), b"\0\xff");
        assert_eq!(
            (block.arrival_ms(0), block.position(0).to_string()),
            (5, "42.3".to_owned())
        );
        writeln!(file, "{{}}").unwrap();
        let error = of_error_object(file.path()).unwrap_err().to_string();
        assert!(
            error.contains(":2: is no line of an error object"),
            "{error}"
        );
    }
}
