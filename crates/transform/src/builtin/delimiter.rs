//! `append_delimiter`: a delimiter behind each record (Firehose's `AppendDelimiterToRecord`;
//! reference, section 4). It is part of the record from then on.

use std::sync::Arc;

use hydrant_core::stage::Transform;

use super::each::{Each, Fault, Outputs, Processor};

/// The processor.
pub struct AppendDelimiter(Vec<u8>);

impl AppendDelimiter {
    /// Appends these bytes.
    pub fn stage(delimiter: Vec<u8>) -> Arc<dyn Transform> {
        Arc::new(Each(Self(delimiter)))
    }
}

impl Processor for AppendDelimiter {
    const NAME: &'static str = "append_delimiter";

    fn settings(&self) -> Vec<Vec<u8>> {
        vec![self.0.clone()]
    }

    fn process(&self, record: &[u8], outputs: &mut Outputs) -> Result<(), Fault> {
        outputs.write(|data| {
            data.extend_from_slice(record);
            data.extend_from_slice(&self.0);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::each::testing::lines;
    use super::AppendDelimiter;

    #[test]
    fn every_record_gets_one() {
        let stage = AppendDelimiter::stage(b"\r\n".to_vec());
        assert_eq!(
            lines(&*stage, &[b"a", b"", b"b\r\n"]),
            [
                r#"{"outputs":["a\r\n"]}"#,
                r#"{"outputs":["\r\n"]}"#,
                r#"{"outputs":["b\r\n\r\n"]}"#
            ]
        );
        assert_ne!(
            stage.digest(),
            AppendDelimiter::stage(b"\n".to_vec()).digest()
        );
    }
}
