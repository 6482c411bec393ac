//! What a transform made of a micro-batch: one arena of outputs, and per record a verdict.

use bytes::{BufMut, Bytes, BytesMut};

/// Partition keys of one output: name and value, in the order given. Empty without partitioning.
pub type PartitionKeys = Vec<(String, String)>;

/// A record (or an output of it) that could not be processed. It is data, not an error of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Index of the input record in the micro-batch.
    pub record: u32,
    /// Index of the output among those of its record; 0 where it is the record itself.
    pub output: u32,
    /// The stage: `processing-failed` or `format-conversion-failed` and so on, the word that
    /// `!{firehose:error-output-type}` stands for.
    pub kind: &'static str,
    /// Code in the manner of Firehose (`Lambda.ProcessingFailedStatus`).
    pub code: String,
    /// What happened, for a person.
    pub message: String,
    /// Names the culprit: a module's digest, or empty.
    pub origin: String,
}

/// A call of a guest that ran out of time, by its place in the micro-batch that the stage saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    /// First record of the call.
    pub first: u32,
    /// Number of records of the call.
    pub count: u32,
}

/// The calls that are known to have run out of time.
#[derive(Clone, Copy, Debug)]
pub enum Overruns<'a> {
    /// The range is open: a call that takes too long is a verdict, to be reported.
    Decide,
    /// The range is redone: these calls count as overrun without being run, and every other call
    /// gets as long as it needs.
    Known(&'a [Call]),
}

/// Outputs of a micro-batch in the order of its records, in one arena.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    data: Bytes,
    ends: Vec<u32>,
    records: Vec<u32>,
    partition_keys: Option<Vec<PartitionKeys>>,
    targets: Option<Vec<Option<String>>>,
    /// Records that end here, dropped by the transform's own verdict.
    pub dropped: u32,
    /// Records, or outputs of them, that failed, in order.
    pub failures: Vec<Failure>,
    /// Calls that ran out of time while the range was open.
    pub overruns: Vec<Call>,
}

impl Outcomes {
    /// Number of outputs.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no output.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all outputs.
    pub fn data_bytes(&self) -> usize {
        self.data.len()
    }

    /// The data of output `index`.
    ///
    /// # Panics
    /// Where `index` is not below `len()`.
    pub fn data(&self, index: usize) -> &[u8] {
        let start = index
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize);
        &self.data[start..self.ends[index] as usize]
    }

    /// The input record that output `index` came from.
    ///
    /// # Panics
    /// Where `index` is not below `len()`.
    pub fn record(&self, index: usize) -> u32 {
        self.records[index]
    }

    /// The partition keys of output `index`; empty where none were given.
    ///
    /// # Panics
    /// Where `index` is not below `len()`.
    pub fn partition_keys(&self, index: usize) -> &[(String, String)] {
        self.partition_keys
            .as_ref()
            .map_or(&[], |keys| &keys[index])
    }

    /// The index, table or topic that output `index` names, if it names one. Only a transform that
    /// was told that its destination routes gives any.
    ///
    /// # Panics
    /// Where `index` is not below `len()`.
    pub fn target(&self, index: usize) -> Option<&str> {
        self.targets.as_ref()?[index].as_deref()
    }

    /// Whether any output has partition keys.
    pub fn is_partitioned(&self) -> bool {
        self.partition_keys.is_some()
    }
}

/// Gathers outcomes. Call for the records in their order.
#[derive(Debug, Default)]
pub struct OutcomesBuilder {
    data: BytesMut,
    outcomes: Outcomes,
}

impl OutcomesBuilder {
    /// With room for so many outputs and bytes.
    pub fn with_capacity(outputs: usize, bytes: usize) -> Self {
        let mut builder = Self {
            data: BytesMut::with_capacity(bytes),
            ..Self::default()
        };
        builder.outcomes.ends.reserve(outputs);
        builder.outcomes.records.reserve(outputs);
        builder
    }

    /// Adds an output of record `record`. Several calls for one record give it several outputs.
    ///
    /// # Panics
    /// Where the arena would pass 4 GiB, which the output limit of a call prevents.
    pub fn output(&mut self, record: u32, data: &[u8], keys: &[(String, String)]) {
        self.data.put_slice(data);
        let end =
            u32::try_from(self.data.len()).expect("outputs of a micro-batch stay below 4 GiB");
        let outcomes = &mut self.outcomes;
        if !keys.is_empty() && outcomes.partition_keys.is_none() {
            outcomes.partition_keys = Some(vec![PartitionKeys::new(); outcomes.ends.len()]);
        }
        if let Some(all) = &mut outcomes.partition_keys {
            all.push(keys.to_vec());
        }
        if let Some(all) = &mut outcomes.targets {
            all.push(None);
        }
        outcomes.ends.push(end);
        outcomes.records.push(record);
    }

    /// Says where the last output goes.
    ///
    /// # Panics
    /// Where there is no output yet.
    pub fn target(&mut self, target: String) {
        let outcomes = &mut self.outcomes;
        let last = outcomes.ends.len() - 1;
        let all = outcomes.targets.get_or_insert_with(|| vec![None; last + 1]);
        all[last] = Some(target);
    }

    /// Notes a record that the transform dropped.
    pub fn dropped(&mut self) {
        self.outcomes.dropped += 1;
    }

    /// Notes a record, or an output, that failed.
    pub fn failed(&mut self, failure: Failure) {
        self.outcomes.failures.push(failure);
    }

    /// Notes a call that ran out of time.
    pub fn overrun(&mut self, call: Call) {
        self.outcomes.overruns.push(call);
    }

    /// Bytes of output so far.
    pub fn data_bytes(&self) -> usize {
        self.data.len()
    }

    /// The finished outcomes.
    pub fn build(mut self) -> Outcomes {
        self.outcomes.data = self.data.freeze();
        self.outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::OutcomesBuilder;

    #[test]
    fn outputs_keep_their_record_and_keys() {
        let mut builder = OutcomesBuilder::default();
        builder.output(0, b"a", &[]);
        builder.dropped();
        builder.output(2, b"bb", &[("user".into(), "x".into())]);
        builder.output(2, b"", &[]);
        let outcomes = builder.build();
        assert_eq!(
            (outcomes.len(), outcomes.data_bytes(), outcomes.dropped),
            (3, 3, 1)
        );
        assert_eq!(
            (outcomes.data(0), outcomes.data(1), outcomes.data(2)),
            (&b"a"[..], &b"bb"[..], &b""[..])
        );
        assert_eq!(
            (outcomes.record(0), outcomes.record(1), outcomes.record(2)),
            (0, 2, 2)
        );
        assert!(outcomes.partition_keys(0).is_empty() && outcomes.partition_keys(2).is_empty());
        assert_eq!(outcomes.partition_keys(1)[0].1, "x");
        assert_eq!(outcomes.target(0), None);
    }

    #[test]
    fn a_target_belongs_to_its_output() {
        let mut builder = OutcomesBuilder::default();
        builder.output(0, b"a", &[]);
        builder.output(1, b"b", &[]);
        builder.target("orders".to_owned());
        builder.output(2, b"c", &[]);
        let outcomes = builder.build();
        let targets = [0, 1, 2].map(|i| outcomes.target(i));
        assert_eq!(targets, [None, Some("orders"), None]);
    }
}
