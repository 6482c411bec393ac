//! The members of a put in CBOR. Data is a byte string; one that is a text is base64, as in JSON.

use hydrant_log::stream::put::MAX_RECORDS;

use super::call::{Data, Entries, Entry, PutRecord, PutRecords, Text};
use crate::protocol::cbor::{Malformed, Reader};

/// Reads the body of a `PutRecord`.
pub(super) fn one(body: &[u8]) -> Result<PutRecord<'_>, Malformed> {
    let (mut reader, mut call) = (Reader::new(body), PutRecord::default());
    reader.members(|reader, name| {
        match name {
            "StreamName" => call.stream_name = text(reader)?,
            "StreamARN" => call.stream_arn = text(reader)?,
            "Data" => call.data = data(reader)?,
            "PartitionKey" => call.partition_key = text(reader)?,
            "ExplicitHashKey" => call.explicit_hash_key = text(reader)?,
            "SequenceNumberForOrdering" => call.sequence_number_for_ordering = text(reader)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    reader.end().map(|()| call)
}

/// Reads the body of a `PutRecords`.
pub(super) fn many(body: &[u8]) -> Result<PutRecords<'_>, Malformed> {
    let (mut reader, mut call) = (Reader::new(body), PutRecords::default());
    reader.members(|reader, name| {
        match name {
            "StreamName" => call.stream_name = text(reader)?,
            "StreamARN" => call.stream_arn = text(reader)?,
            "Records" => call.records = entries(reader)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    reader.end().map(|()| call)
}

fn entries<'a>(reader: &mut Reader<'a>) -> Result<Option<Entries<'a>>, Malformed> {
    if reader.null()? {
        return Ok(None);
    }
    let mut entries = Entries::default();
    reader.each(|reader| {
        entries.count += 1;
        if entries.count > MAX_RECORDS {
            return reader.skip();
        }
        entries.kept.push(entry(reader)?);
        Ok(())
    })?;
    Ok(Some(entries))
}

fn entry<'a>(reader: &mut Reader<'a>) -> Result<Entry<'a>, Malformed> {
    let mut entry = Entry::default();
    reader.members(|reader, name| {
        match name {
            "Data" => entry.data = data(reader)?,
            "PartitionKey" => entry.partition_key = text(reader)?,
            "ExplicitHashKey" => entry.explicit_hash_key = text(reader)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(entry)
}

fn text<'a>(reader: &mut Reader<'a>) -> Result<Option<Text<'a>>, Malformed> {
    Ok(reader.text()?.map(Text))
}

fn data<'a>(reader: &mut Reader<'a>) -> Result<Option<Data<'a>>, Malformed> {
    if reader.has_bytes()? {
        return Ok(Some(Data::Plain(reader.bytes()?)));
    }
    Ok(reader.text()?.map(Data::Base64))
}

#[cfg(test)]
mod tests {
    use minicbor::Encoder;

    use super::{many, one};
    use crate::kinesis::put::call::{Data, PutRecords, text};
    use crate::protocol::cbor::{Written, moment};

    /// A call with every form of length, and members that are not known.
    fn body() -> Vec<u8> {
        let mut body = Vec::new();
        write(&mut Encoder::new(&mut body)).expect("a vector takes all");
        body
    }

    fn write(out: &mut Encoder<&mut Vec<u8>>) -> Written {
        out.begin_map()?.str("StreamName")?.str("clicks")?;
        out.str("StreamARN")?.null()?;
        out.str("Other")?.begin_array()?.map(1)?.str("x")?;
        moment(out, 7)?;
        out.end()?.str("Records")?.begin_array()?;
        out.map(4)?.str("Data")?.bytes(b"one")?;
        out.str("PartitionKey")?.str("k")?;
        out.str("ExplicitHashKey")?.null()?;
        out.str("Other")?.bytes(b"xyz")?;
        out.begin_map()?.begin_str()?.str("Partition")?.str("Key")?;
        out.end()?.begin_str()?.str("k")?.str("2")?.end()?;
        out.str("Data")?.begin_bytes()?.bytes(b"t")?.bytes(b"wo")?;
        out.end()?.str("ExplicitHashKey")?.str("7")?.end()?;
        out.map(1)?.str("Data")?.str("dGhyZWU=")?;
        out.end()?.end()?;
        Ok(())
    }

    #[test]
    fn the_members_of_a_put() {
        let body = body();
        let call = many(&body).expect("a call");
        assert_eq!(text(call.stream_name.as_ref()), Some("clicks"));
        assert!(call.stream_arn.is_none());
        let entries = call.records.expect("records");
        assert_eq!((entries.kept.len(), entries.count), (3, 3));
        let decoded: Vec<_> = entries
            .kept
            .iter()
            .map(|entry| {
                let mut block = Vec::new();
                let data = entry.data.as_ref().expect("data");
                assert!(data.append(&mut block).is_ok());
                assert_eq!(data.len().ok(), Some(block.len()));
                let key = text(entry.partition_key.as_ref()).unwrap_or_default();
                (block, key, text(entry.explicit_hash_key.as_ref()))
            })
            .collect();
        assert_eq!(
            decoded,
            [
                (b"one".to_vec(), "k", None),
                (b"two".to_vec(), "k2", Some("7")),
                (b"three".to_vec(), "", None),
            ]
        );
        assert!(matches!(
            &entries.kept[0].data,
            Some(Data::Plain(std::borrow::Cow::Borrowed(_)))
        ));
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        let body = body();
        for length in 0..body.len() {
            assert!(many(&body[..length]).is_err(), "{length} bytes");
            assert!(one(&body[..length]).is_err(), "{length} bytes");
        }
        let (mut read, mut refused) = (0, 0);
        for at in 0..body.len() {
            for byte in 0..=u8::MAX {
                let mut other = body.clone();
                other[at] = byte;
                match many(&other) {
                    Ok(PutRecords { .. }) => read += 1,
                    Err(malformed) => {
                        assert!(malformed.at <= other.len());
                        refused += 1;
                    }
                }
            }
        }
        assert!(read > 1_000 && refused > 1_000, "{read} {refused}");
    }

    #[test]
    fn records_beyond_the_limit_are_counted_only() {
        for (count, kept) in [(500, 500), (501, 500), (60_000, 500)] {
            let mut body = Vec::new();
            let mut out = Encoder::new(&mut body);
            let mut write = || -> Written {
                out.map(1)?.str("Records")?.array(count)?;
                (0..count).try_for_each(|_| out.map(0).map(drop))
            };
            write().expect("a vector takes all");
            let entries = many(&body)
                .ok()
                .and_then(|call| call.records)
                .expect("records");
            assert_eq!((entries.kept.len(), entries.count as u64), (kept, count));
        }
    }
}
