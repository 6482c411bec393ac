//! `filter`: keeps the records for which a condition of jq holds, and drops the others.

use std::sync::Arc;

use hydrant_core::stage::Transform;
use jaq_json::Val;

use super::each::{Each, Fault, Outputs, Processor};
use super::jq::Query;

const CODE: &str = "Filter.ConditionFailed";

/// The processor.
pub struct Filter {
    text: String,
    query: Query,
}

impl Filter {
    /// Keeps records for which the first result of `condition` is neither null nor false.
    ///
    /// # Errors
    /// With what is wrong with the condition, or what of it is not allowed and why.
    pub fn stage(condition: &str) -> Result<Arc<dyn Transform>, String> {
        let query = Query::compile(condition)?;
        Ok(Arc::new(Each(Self {
            text: condition.to_owned(),
            query,
        })))
    }
}

impl Processor for Filter {
    const NAME: &'static str = "filter";

    fn settings(&self) -> Vec<Vec<u8>> {
        vec![self.text.clone().into_bytes()]
    }

    fn process(&self, record: &[u8], outputs: &mut Outputs) -> Result<(), Fault> {
        let results = self
            .query
            .run(record, 1)
            .map_err(|message| Fault::processing(CODE, message))?;
        if !matches!(results.first(), None | Some(Val::Null | Val::Bool(false))) {
            outputs.keep(Vec::new());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::each::testing::{apply, lines};
    use super::Filter;

    #[test]
    fn records_that_hold_stay_and_those_that_cannot_be_asked_fail() {
        let stage = Filter::stage(r#".level == "error" or (.ms // 0) > 100"#).expect("good");
        let records: [&[u8]; 4] = [
            br#"{"level":"error"}"#,
            br#"{"level":"info","ms":7}"#,
            br#"{"ms":101}"#,
            br"{}",
        ];
        assert_eq!(
            lines(&*stage, &records),
            [
                r#"{"outputs":["{\"level\":\"error\"}"]}"#,
                r#"{"dropped":true}"#,
                r#"{"outputs":["{\"ms\":101}"]}"#,
                r#"{"dropped":true}"#,
            ]
        );
        let outcomes = apply(&*stage, &[b"[1]", b"text", b""]);
        assert_eq!(outcomes.failures.len(), 3);
        assert!(
            outcomes
                .failures
                .iter()
                .all(|failure| failure.code == super::CODE)
        );
        let first = Filter::stage(".[]").expect("good");
        let outcomes = apply(&*first, &[b"[0,false]", b"[false,1]", b"[]", b"[null]"]);
        assert_eq!((outcomes.len(), outcomes.dropped), (1, 3));
        assert_ne!(stage.digest(), first.digest());
    }
}
