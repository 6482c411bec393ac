//! From the records of an answer to a block. The seam at which another decoder than the SDK's would
//! come in: whatever gives number, arrival, key and data of each record.

use aws_sdk_kinesis::types::Record;
use hydrant_core::{Position, Records, RecordsBuilder};

/// Makes a block of records that all stand after `after`. Those at or before it, which a server gives
/// again where it starts too early, are left out.
///
/// # Errors
/// Where a sequence number is none, or they do not rise.
pub(super) fn block(records: &[Record], after: Position) -> Result<Records, String> {
    let bytes = data_bytes(records);
    let mut builder = RecordsBuilder::with_capacity(records.len(), bytes);
    let mut last = None;
    for record in records {
        let number = record.sequence_number();
        let position = Position::from_decimal(number)
            .filter(|position| *position > Position::START)
            .ok_or_else(|| format!("`{}` is no sequence number", number.escape_debug()))?;
        if last.is_some_and(|last| position <= last) {
            return Err(format!("sequence numbers do not rise at {number}"));
        }
        last = Some(position);
        if position <= after || position.same_sequence(&after) {
            continue;
        }
        let arrival = record.approximate_arrival_timestamp();
        let arrival = arrival.and_then(|time| time.to_millis().ok()).unwrap_or(0);
        let arrival_ms = u64::try_from(arrival).unwrap_or(0);
        let key = record.partition_key().unwrap_or_default().as_bytes();
        builder.push(position, arrival_ms, key, record.data().as_ref());
    }
    Ok(builder.build())
}

/// Bytes of data in an answer.
pub(super) fn data_bytes(records: &[Record]) -> usize {
    records
        .iter()
        .map(|record| record.data().as_ref().len())
        .sum()
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::primitives::{Blob, DateTime};
    use aws_sdk_kinesis::types::Record;
    use hydrant_core::Position;

    use super::block;

    fn record(number: &str, key: &str, data: &str) -> Record {
        Record::builder()
            .sequence_number(number)
            .approximate_arrival_timestamp(DateTime::from_millis(1_700_000_000_123))
            .partition_key(key)
            .data(Blob::new(data))
            .build()
            .expect("all that is required")
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
