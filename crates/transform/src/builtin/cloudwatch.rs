//! `cloudwatch_logs`: what a subscription of `CloudWatch` Logs sends, taken apart (Firehose's
//! `CloudWatchLogProcessing`; reference, section 4). Decompress it first.

use std::borrow::Cow;
use std::sync::Arc;

use hydrant_core::stage::Transform;
use serde::Deserialize;

use super::each::{Each, Fault, Outputs, Processor};

const CODE: &str = "CloudWatchLogProcessing.InvalidRecord";

/// The processor.
pub struct CloudWatchLogs {
    extract: bool,
}

/// What is read of a record. Names are `CloudWatch`'s.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    #[serde(borrow)]
    message_type: Cow<'a, str>,
    #[serde(borrow, default)]
    log_events: Vec<Event<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

impl CloudWatchLogs {
    /// With `extract`, each log event's message becomes a record, and its owner, group and stream
    /// are lost; without, data messages pass as they are. Control messages are dropped.
    pub fn stage(extract: bool) -> Arc<dyn Transform> {
        Arc::new(Each(Self { extract }))
    }
}

impl Processor for CloudWatchLogs {
    const NAME: &'static str = "cloudwatch_logs";

    fn settings(&self) -> Vec<Vec<u8>> {
        vec![vec![u8::from(self.extract)]]
    }

    fn process(&self, record: &[u8], outputs: &mut Outputs) -> Result<(), Fault> {
        let message: Message<'_> = serde_json::from_slice(record).map_err(|error| {
            let what = "the record is no message of CloudWatch Logs";
            Fault::processing(CODE, format!("{what}: {error}"))
        })?;
        match &*message.message_type {
            "CONTROL_MESSAGE" => {}
            "DATA_MESSAGE" if !self.extract => outputs.keep(Vec::new()),
            "DATA_MESSAGE" => {
                for event in &message.log_events {
                    outputs.push(event.message.as_bytes())?;
                }
            }
            _ => {
                let what = "the record's messageType is neither DATA_MESSAGE nor CONTROL_MESSAGE";
                return Err(Fault::processing(CODE, what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::each::testing::{apply, lines};
    use super::CloudWatchLogs;

    const DATA: &str = r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s",
        "subscriptionFilters":["f"],"logEvents":[
        {"id":"1","timestamp":1,"message":"one \"x\" ü"},{"id":"2","timestamp":2,"message":""}]}"#;
    const CONTROL: &str = r#"{"messageType":"CONTROL_MESSAGE","owner":"","logGroup":"",
        "logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1,
        "message":"CWL CONTROL MESSAGE: Checking health of destination Firehose."}]}"#;

    #[test]
    fn messages_come_out_and_control_messages_do_not() {
        let records = [DATA.as_bytes(), CONTROL.as_bytes()];
        assert_eq!(
            lines(&*CloudWatchLogs::stage(true), &records),
            [r#"{"outputs":["one \"x\" ü",""]}"#, r#"{"dropped":true}"#]
        );
        let outcomes = apply(&*CloudWatchLogs::stage(false), &records);
        assert_eq!((outcomes.len(), outcomes.dropped), (1, 1));
        assert_eq!(outcomes.data(0), DATA.as_bytes());
    }

    #[test]
    fn a_data_message_without_events_is_dropped_and_anything_else_fails() {
        let stage = CloudWatchLogs::stage(true);
        let empty = br#"{"messageType":"DATA_MESSAGE","logEvents":[]}"#;
        let outcomes = apply(
            &*stage,
            &[empty, b"", b"{}", b"{\"messageType\":\"X\"}", b"text"],
        );
        assert_eq!((outcomes.dropped, outcomes.failures.len()), (1, 4));
        assert!(outcomes.failures.iter().all(|one| one.code == super::CODE));
        assert_ne!(stage.digest(), CloudWatchLogs::stage(false).digest());
    }
}
