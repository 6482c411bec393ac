//! Lines of an error object, as Firehose writes them: one JSON object per failed record.
//!
//! Takes what is known of the record, appends a line; which object it goes to is left to the
//! pipeline. Two envelopes (reference, sections 4 and 7): conversion says `lastErrorCode` and
//! `lastErrorMessage`, everything else `errorCode` and `errorMessage`. Every line also names the
//! lane, the position and the output, and the module's digest where one failed. Where several outputs
//! of a record failed, the first line has the record, and the others say which one that is. Times are
//! the range's, so that a redo repeats every byte (invariant I12).

use std::ops::Bound;

use hydrant_core::stage::{ErrorFormat, FailedRecord, LostRecords};

/// The kind whose envelope differs.
const CONVERSION: &str = "format-conversion-failed";

/// Firehose's envelopes, a line each.
#[derive(Clone, Copy, Debug, Default)]
pub struct FirehoseErrors;

impl ErrorFormat for FirehoseErrors {
    fn line(&self, record: &FailedRecord<'_>, out: &mut Vec<u8>) {
        let failure = record.failure;
        let [code, message] = if failure.kind == CONVERSION {
            ["lastErrorCode", "lastErrorMessage"]
        } else {
            ["errorCode", "errorMessage"]
        };
        // The verdict is a function of the records, so it is never tried again.
        out.extend_from_slice(b"{\"attemptsMade\":1");
        number(out, "arrivalTimestamp", record.arrival_ms);
        text(out, code, &failure.code);
        text(out, message, &failure.message);
        number(out, "attemptEndingTimestamp", record.at_ms);
        name(out, "rawData");
        out.push(b'"');
        if record.raw_in.is_none() {
            base64_simd::STANDARD.encode_append(record.raw, out);
        }
        out.push(b'"');
        if let Some(output) = record.raw_in {
            number(out, "rawDataAtOutputIndex", u64::from(output));
        }
        if !failure.origin.is_empty() {
            text(out, "moduleDigest", &failure.origin);
        }
        text(out, "lane", record.lane.as_str());
        text(
            out,
            "sequenceNumber",
            &record.position.with_sub(0).to_decimal(),
        );
        number(out, "subSequenceNumber", record.position.sub_sequence());
        number(out, "outputIndex", u64::from(failure.output));
        out.extend_from_slice(b"}\n");
    }

    fn loss(&self, lost: &LostRecords<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"attemptsMade\":1");
        number(out, "arrivalTimestamp", lost.at_ms);
        text(out, "errorCode", "Source.RecordsLost");
        let message = "The source no longer had these records when they were to be read.";
        text(out, "errorMessage", message);
        number(out, "attemptEndingTimestamp", lost.at_ms);
        text(out, "rawData", "");
        text(out, "lane", lost.lane.as_str());
        text(out, "lostAfter", &lost.after.to_string());
        match lost.until {
            Bound::Included(position) => text(out, "lostThrough", &position.to_string()),
            Bound::Excluded(position) => text(out, "lostBefore", &position.to_string()),
            Bound::Unbounded => {}
        }
        out.extend_from_slice(b"}\n");
    }
}

fn name(out: &mut Vec<u8>, name: &str) {
    out.push(b',');
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    name(out, key);
    out.extend_from_slice(value.to_string().as_bytes());
}

fn text(out: &mut Vec<u8>, key: &str, value: &str) {
    name(out, key);
    serde_json::to_writer(out, value).expect("a string into memory");
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use hydrant_core::outcomes::Failure;
    use hydrant_core::stage::{ErrorFormat as _, FailedRecord, LostRecords};
    use hydrant_core::{Lane, Position};
    use serde_json::json;

    use super::FirehoseErrors;

    fn line(kind: &'static str, origin: &str, raw: &[u8], raw_in: Option<u32>) -> String {
        let failure = Failure {
            record: 7,
            output: 2,
            kind,
            code: "Some.Code".to_owned(),
            message: "said \"no\"\nü".to_owned(),
            origin: origin.to_owned(),
        };
        let record = FailedRecord {
            failure: &failure,
            raw,
            raw_in,
            position: Position::from_u64(42).with_sub(3),
            lane: &Lane::new("shardId-000000000001"),
            arrival_ms: 1_789_014_240_448,
            at_ms: 1_789_014_301_529,
        };
        let mut out = b"before\n".to_vec();
        FirehoseErrors.line(&record, &mut out);
        String::from_utf8(out)
            .expect("text")
            .strip_prefix("before\n")
            .expect("appended")
            .to_owned()
    }

    #[test]
    fn a_processing_failure_line_by_line() {
        assert_eq!(
            line("processing-failed", "abcd", b"\x00\xff raw", None),
            concat!(
                r#"{"attemptsMade":1,"arrivalTimestamp":1789014240448,"errorCode":"Some.Code","#,
                r#""errorMessage":"said \"no\"\nü","attemptEndingTimestamp":1789014301529,"#,
                r#""rawData":"AP8gcmF3","moduleDigest":"abcd","lane":"shardId-000000000001","#,
                r#""sequenceNumber":"42","subSequenceNumber":3,"outputIndex":2}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_further_output_of_a_record_names_the_one_with_its_data() {
        let line = line("processing-failed", "", b"raw", Some(1));
        assert!(
            line.contains(r#""rawData":"","rawDataAtOutputIndex":1,"#),
            "{line}"
        );
    }

    #[test]
    fn a_loss_says_between_which_positions() {
        let lane = Lane::new("shardId-000000000001");
        let lost = |until| {
            let lost = LostRecords {
                lane: &lane,
                after: Position::from_u64(41).with_sub(2),
                until,
                at_ms: 1_789_014_301_529,
            };
            let mut out = Vec::new();
            FirehoseErrors.loss(&lost, &mut out);
            String::from_utf8(out).expect("text")
        };
        let through = lost(Bound::Included(Position::from_u64(90)));
        assert_eq!(
            through,
            concat!(
                r#"{"attemptsMade":1,"arrivalTimestamp":1789014301529,"errorCode":"Source.RecordsLost","#,
                r#""errorMessage":"The source no longer had these records when they were to be read.","#,
                r#""attemptEndingTimestamp":1789014301529,"rawData":"","lane":"shardId-000000000001","#,
                r#""lostAfter":"41.2","lostThrough":"90"}"#,
                "\n"
            )
        );
        let before = lost(Bound::Excluded(Position::from_u64(90)));
        assert!(before.ends_with("\"lostBefore\":\"90\"}\n"), "{before}");
    }

    #[test]
    fn a_conversion_failure_has_the_other_names_and_no_module() {
        let line = line("format-conversion-failed", "", b"", None);
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let want = json!({
            "attemptsMade": 1, "arrivalTimestamp": 1_789_014_240_448_u64,
            "lastErrorCode": "Some.Code", "lastErrorMessage": "said \"no\"\nü",
            "attemptEndingTimestamp": 1_789_014_301_529_u64, "rawData": "",
            "lane": "shardId-000000000001", "sequenceNumber": "42", "subSequenceNumber": 3,
            "outputIndex": 2
        });
        assert_eq!(value, want);
        assert_eq!(line.matches('\n').count(), 1);
    }
}
