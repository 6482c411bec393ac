//! The body of the fuzz target `get_records`.

use hydrant_core::{Position, Records};
use minicbor::Encoder;
use minicbor::data::Tag;

use super::cbor::{answer, error, request};
use super::gather::{Answered, Gather, Wrong};

/// Reads an answer of `GetRecords`, of success or not. One that is understood is written in the
/// shortest form and read back.
///
/// # Panics
/// Where any of this is not so.
pub fn get_records(bytes: &[u8]) {
    let (kind, message) = error(bytes);
    let said = [kind, message].into_iter().flatten();
    assert!(said.map(|text| text.len()).sum::<usize>() <= bytes.len());
    let (records, answered) = match read(bytes) {
        Ok(read) => read,
        Err(Wrong::Malformed(text) | Wrong::Numbers(text)) => return assert!(!text.is_empty()),
    };
    let held = records.data_bytes() + answered.next.as_ref().map_or(0, String::len);
    assert!(held <= bytes.len(), "{held} bytes of {}", bytes.len());
    let positions: Vec<_> = (0..records.len()).map(|i| records.position(i)).collect();
    assert!(positions.is_sorted_by(|one, next| one < next));
    let again = read(&write(&records, &answered)).expect("our own form");
    assert_eq!(rows(&again.0), rows(&records));
    assert_eq!(
        (again.1.next, again.1.behind_ms),
        (answered.next, answered.behind_ms)
    );
}

fn read(bytes: &[u8]) -> Result<(Records, Answered), Wrong> {
    let mut gather = Gather::new(0, 0, Position::START);
    let answered = answer(bytes, &mut gather)?;
    let (records, seen) = gather.done();
    assert_eq!(
        (seen.records, seen.bytes),
        (records.len(), records.data_bytes())
    );
    Ok((records, answered))
}

type Row<'a> = (Position, u64, &'a [u8], &'a [u8]);

fn rows(records: &Records) -> Vec<Row<'_>> {
    let row = |i| {
        let (key, data) = (records.key(i), records.data(i));
        (records.position(i), records.arrival_ms(i), key, data)
    };
    (0..records.len()).map(row).collect()
}

fn write(records: &Records, answered: &Answered) -> Vec<u8> {
    let mut body = Vec::new();
    write_to(&mut Encoder::new(&mut body), records, answered).expect("a vector takes all");
    body
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn write_to(out: &mut Encoder<&mut Vec<u8>>, records: &Records, answered: &Answered) -> Written {
    out.map(3)?.str("NextShardIterator")?;
    match &answered.next {
        Some(next) => out.str(next)?,
        None => out.null()?,
    };
    out.str("MillisBehindLatest")?.u64(answered.behind_ms)?;
    out.str("Records")?.array(records.len() as u64)?;
    for (position, arrival_ms, key, data) in rows(records) {
        let key = std::str::from_utf8(key).expect("keys are texts");
        out.map(4)?.str("Data")?.bytes(data)?;
        out.str("PartitionKey")?.str(key)?;
        out.str("SequenceNumber")?.str(&position.to_decimal())?;
        out.str("ApproximateArrivalTimestamp")?;
        out.tag(Tag::new(1))?.u64(arrival_ms)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hydrant_core::{Position, RecordsBuilder};
    use hydrant_testkit::corpus;
    use minicbor::Encoder;

    use super::{Answered, Written, get_records, request, write};

    fn seed(records: u64) -> Vec<u8> {
        let mut builder = RecordsBuilder::default();
        for i in 1..=records {
            let at = Position::from_u64(i << 40);
            builder.push(at, 1_700_000_000_000 + i, b"key", &i.to_be_bytes());
        }
        let answered = Answered {
            next: (records < 5).then(|| "AAAA".to_owned()),
            behind_ms: records,
        };
        write(&builder.build(), &answered)
    }

    /// Everything without lengths, texts and bytes in pieces, data in base64, and no null.
    fn open(out: &mut Encoder<&mut Vec<u8>>) -> Written {
        out.begin_map()?.str("ChildShards")?.array(1)?.map(1)?;
        out.str("x")?.f64(1.5)?.str("Records")?.begin_array()?;
        out.begin_map()?
            .begin_str()?
            .str("Sequence")?
            .str("Number")?;
        out.end()?
            .str("7")?
            .str("Data")?
            .begin_bytes()?
            .bytes(b"n")?;
        out.bytes(b"ew")?
            .end()?
            .str("PartitionKey")?
            .null()?
            .end()?;
        out.map(3)?.str("SequenceNumber")?.str("8")?;
        out.str("Data")?.str("bmV3")?;
        out.str("ApproximateArrivalTimestamp")?.f64(1.7e9)?;
        out.end()?.end()?;
        Ok(())
    }

    fn fault(out: &mut Encoder<&mut Vec<u8>>) -> Written {
        out.map(2)?.str("__type")?.str("ExpiredIteratorException")?;
        out.str("message")?.str("too late")?;
        Ok(())
    }

    fn written(write: fn(&mut Encoder<&mut Vec<u8>>) -> Written) -> Vec<u8> {
        let mut body = Vec::new();
        write(&mut Encoder::new(&mut body)).expect("a vector takes all");
        body
    }

    #[test]
    fn the_corpus_of_answers() {
        let seeds = [
            ("empty", seed(0)),
            ("two", seed(2)),
            ("end", seed(5)),
            ("open", written(open)),
            ("fault", written(fault)),
            ("request", request("AAAA", 100, Some("arn"))),
        ];
        corpus::run("get_records", &seeds, get_records);
    }
}
