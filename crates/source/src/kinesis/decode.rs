//! From an answer to a block: what `GetRecords` gave, in CBOR as it came or made into records by the
//! SDK.

use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_smithy_types::body::SdkBody;
use hydrant_core::{Position, Records};

use super::cbor;
use super::gather::{Answered, Gather, Seen, Wrong};

/// Data and what stands around it is at least so large: for how many there is room at first.
const RECORD_BYTES: usize = 256;

/// An answer that was not looked into.
#[derive(Debug)]
pub(super) enum Answer {
    /// What the SDK made of JSON.
    Json(Box<GetRecordsOutput>),
    /// A body of CBOR.
    Cbor(SdkBody),
}

/// An answer taken apart.
#[derive(Debug)]
pub(super) struct Decoded {
    /// The records behind the asked position.
    pub(super) block: Records,
    /// All that came.
    pub(super) seen: Seen,
    pub(super) answered: Answered,
}

impl Answer {
    /// About the bytes of data in it.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Json(output) => data_bytes(output),
            Self::Cbor(body) => body.bytes().map_or(0, <[u8]>::len),
        }
    }

    /// Makes a block of the records that stand after `after`. Those at or before it, which a server
    /// gives again where it starts too early, are left out.
    ///
    /// # Errors
    /// Where it is no answer, a sequence number is none, or they do not rise.
    pub(super) fn decode(self, after: Position) -> Result<Decoded, Wrong> {
        let (gather, answered) = match self {
            Self::Json(output) => json(*output, after)?,
            Self::Cbor(body) => {
                let body = body.bytes().unwrap_or_default();
                let mut gather = Gather::new(body.len() / RECORD_BYTES, body.len(), after);
                let answered = cbor::answer(body, &mut gather)?;
                (gather, answered)
            }
        };
        let (block, seen) = gather.done();
        Ok(Decoded {
            block,
            seen,
            answered,
        })
    }
}

fn json(output: GetRecordsOutput, after: Position) -> Result<(Gather, Answered), Wrong> {
    let mut gather = Gather::new(output.records().len(), data_bytes(&output), after);
    for record in output.records() {
        let arrival = record.approximate_arrival_timestamp();
        let arrival = arrival.and_then(|time| time.to_millis().ok()).unwrap_or(0);
        let arrival_ms = u64::try_from(arrival).unwrap_or(0);
        let key = record.partition_key().unwrap_or_default().as_bytes();
        let data = record.data().as_ref();
        gather.push(record.sequence_number(), arrival_ms, key, data)?;
    }
    let behind = output.millis_behind_latest().unwrap_or(0);
    let answered = Answered {
        behind_ms: u64::try_from(behind).unwrap_or(0),
        next: output.next_shard_iterator,
    };
    Ok((gather, answered))
}

fn data_bytes(output: &GetRecordsOutput) -> usize {
    let records = output.records().iter();
    records.map(|record| record.data().as_ref().len()).sum()
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
    use aws_sdk_kinesis::primitives::{Blob, DateTime};
    use aws_sdk_kinesis::types::Record;
    use hydrant_core::{Position, Records};

    use super::{Answer, Wrong};

    fn record(number: &str, key: &str, data: &str) -> Record {
        Record::builder()
            .sequence_number(number)
            .approximate_arrival_timestamp(DateTime::from_millis(1_700_000_000_123))
            .partition_key(key)
            .data(Blob::new(data))
            .build()
            .expect("all that is required")
    }

    fn block(records: &[Record], after: Position) -> Result<Records, Wrong> {
        let output = GetRecordsOutput::builder().set_records(Some(records.to_vec()));
        let answer = Answer::Json(Box::new(output.build().expect("all that is required")));
        let decoded = answer.decode(after)?;
        assert_eq!(decoded.seen.records, records.len());
        Ok(decoded.block)
    }

    #[test]
    fn number_arrival_key_and_data_come_over() {
        let number = "49571904859951697672938815047093113543517771024281110226";
        let records = [record("7", "", "old"), record(number, "k", "new")];
        let block = block(&records, Position::from_u64(7)).expect("two numbers");
        assert_eq!(block.len(), 1, "what was read is left out");
        assert_eq!(block.position(0).to_decimal(), number);
        assert_eq!(block.arrival_ms(0), 1_700_000_000_123);
        assert_eq!((block.key(0), block.data(0)), (&b"k"[..], &b"new"[..]));
    }

    #[test]
    fn what_follows_an_aggregate_does_not_begin_inside_it() {
        let records = [record("7", "k", "aggregate"), record("8", "k", "next")];
        let block = block(&records, Position::from_u64(7).with_sub(2)).expect("two numbers");
        assert_eq!(block.len(), 1);
        assert_eq!(block.data(0), b"next");
    }

    #[test]
    fn wrong_numbers_are_refused() {
        for numbers in [["x", "8"], ["8", "8"], ["9", "8"], ["0", "1"]] {
            let records = numbers.map(|number| record(number, "k", "d"));
            assert!(block(&records, Position::START).is_err(), "{numbers:?}");
        }
    }
}
