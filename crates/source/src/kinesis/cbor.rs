//! `GetRecords` answers in CBOR. Lengths may be definite or not, texts and bytes in pieces; times are
//! tag 1 with whole milliseconds; members come in any order (reference, section 2.2).

use std::borrow::Cow;
use std::time::Duration;

use base64_simd::STANDARD;
use minicbor::data::Type;
use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};

use super::gather::{Answered, Gather, Wrong};

/// Makes the body of a call for up to `limit` records.
pub(super) fn request(iterator: &str, limit: i32, arn: Option<&str>) -> Vec<u8> {
    let mut body = Vec::with_capacity(iterator.len() + 128);
    let mut encoder = Encoder::new(&mut body);
    let written = encoder
        .map(2 + u64::from(arn.is_some()))
        .and_then(|encoder| encoder.str("ShardIterator")?.str(iterator))
        .and_then(|encoder| encoder.str("Limit")?.i32(limit))
        .and_then(|encoder| match arn {
            Some(arn) => encoder.str("StreamARN")?.str(arn),
            None => Ok(encoder),
        });
    debug_assert!(written.is_ok(), "a vector takes all");
    body
}

/// Takes an answer apart. What comes of its records is in `gather`.
///
/// # Errors
/// Where it is no CBOR of an answer, or a sequence number is wrong.
pub(super) fn answer(body: &[u8], gather: &mut Gather) -> Result<Answered, Wrong> {
    let mut decoder = Decoder::new(body);
    let (mut answered, mut complete) = (Answered::default(), false);
    members(&mut decoder, |name, decoder| {
        match name {
            "Records" => {
                items(decoder, |decoder| record(decoder, gather))?;
                complete = true;
            }
            "NextShardIterator" => {
                answered.next = optional(decoder, text)?.map(Cow::into_owned);
            }
            "MillisBehindLatest" => {
                let behind = optional(decoder, |decoder| Ok(decoder.i64()?))?;
                answered.behind_ms = behind.map_or(0, |ms| u64::try_from(ms).unwrap_or(0));
            }
            _ => decoder.skip()?,
        }
        Ok(())
    })?;
    if complete {
        Ok(answered)
    } else {
        Err(Wrong::Malformed("it has no Records".to_owned()))
    }
}

fn record(decoder: &mut Decoder<'_>, gather: &mut Gather) -> Result<(), Wrong> {
    let (mut number, mut key) = (Cow::Borrowed(""), Cow::Borrowed(""));
    let (mut data, mut arrival_ms) = (Cow::Borrowed(&[][..]), 0);
    members(decoder, |name, decoder| {
        match name {
            "SequenceNumber" => number = text(decoder)?,
            "PartitionKey" => key = optional(decoder, text)?.unwrap_or_default(),
            "Data" => data = bytes(decoder)?,
            "ApproximateArrivalTimestamp" => {
                arrival_ms = optional(decoder, millis)?.unwrap_or(0);
            }
            _ => decoder.skip()?,
        }
        Ok(())
    })?;
    gather.push(&number, arrival_ms, key.as_bytes(), &data)
}

/// Type and message of an error answer, as far as it has them.
pub(super) fn error(body: &[u8]) -> (Option<String>, Option<String>) {
    let (mut kind, mut message) = (None, None);
    let read = members(&mut Decoder::new(body), |name, decoder| {
        match name {
            "__type" => kind = optional(decoder, text)?.map(Cow::into_owned),
            "message" | "Message" => message = optional(decoder, text)?.map(Cow::into_owned),
            _ => decoder.skip()?,
        }
        Ok(())
    });
    // What was understood before it became no CBOR says more than nothing.
    drop(read);
    (kind, message)
}

/// Calls `each` with every member of a map; it must read the value.
fn members<'b>(
    decoder: &mut Decoder<'b>,
    mut each: impl FnMut(&str, &mut Decoder<'b>) -> Result<(), Wrong>,
) -> Result<(), Wrong> {
    let mut left = decoder.map()?;
    while more(decoder, &mut left)? {
        let name = text(decoder)?;
        each(&name, decoder)?;
    }
    Ok(())
}

/// Calls `each` for every item of an array; it must read the item.
fn items<'b>(
    decoder: &mut Decoder<'b>,
    mut each: impl FnMut(&mut Decoder<'b>) -> Result<(), Wrong>,
) -> Result<(), Wrong> {
    let mut left = decoder.array()?;
    while more(decoder, &mut left)? {
        each(decoder)?;
    }
    Ok(())
}

/// Whether another item follows, of so many or up to a break.
fn more(decoder: &mut Decoder<'_>, left: &mut Option<u64>) -> Result<bool, Error> {
    match left {
        Some(0) => Ok(false),
        Some(left) => {
            *left -= 1;
            Ok(true)
        }
        None if decoder.datatype()? == Type::Break => {
            decoder.skip()?;
            Ok(false)
        }
        None => Ok(true),
    }
}

/// `None` for null.
fn optional<'b, T>(
    decoder: &mut Decoder<'b>,
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, Wrong>,
) -> Result<Option<T>, Wrong> {
    if decoder.datatype()? == Type::Null {
        decoder.null()?;
        return Ok(None);
    }
    read(decoder).map(Some)
}

fn text<'b>(decoder: &mut Decoder<'b>) -> Result<Cow<'b, str>, Wrong> {
    if decoder.datatype()? != Type::StringIndef {
        return Ok(Cow::Borrowed(decoder.str()?));
    }
    let pieces: Result<String, _> = decoder.str_iter()?.collect();
    Ok(Cow::Owned(pieces?))
}

/// Bytes; or base64 in a text, as kinesis-mock has it and Java's clients take it.
fn bytes<'b>(decoder: &mut Decoder<'b>) -> Result<Cow<'b, [u8]>, Wrong> {
    match decoder.datatype()? {
        Type::String | Type::StringIndef => {
            let data = STANDARD.decode_to_vec(text(decoder)?.as_bytes());
            let data = data.map_err(|_| Wrong::Malformed("a text that is no base64".to_owned()))?;
            Ok(Cow::Owned(data))
        }
        Type::BytesIndef => {
            let mut all = Vec::new();
            for piece in decoder.bytes_iter()? {
                all.extend_from_slice(piece?);
            }
            Ok(Cow::Owned(all))
        }
        _ => Ok(Cow::Borrowed(decoder.bytes()?)),
    }
}

/// Milliseconds; or seconds with a fraction, as in JSON.
fn millis(decoder: &mut Decoder<'_>) -> Result<u64, Wrong> {
    if decoder.datatype()? == Type::Tag {
        decoder.tag()?;
    }
    if matches!(decoder.datatype()?, Type::F64 | Type::F32 | Type::F16) {
        let seconds = Duration::try_from_secs_f64(decoder.f64()?).unwrap_or_default();
        return Ok(u64::try_from(seconds.as_millis()).unwrap_or(0));
    }
    let ms = decoder.i64()?;
    Ok(u64::try_from(ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use hydrant_core::Position;
    use minicbor::Encoder;
    use minicbor::data::Tag;

    use super::super::gather::{Gather, Wrong};
    use super::{answer, error};

    const NUMBER: &str = "49571904859951697672938815047093113543517771024281110226";

    /// An answer of one record, with definite lengths or not.
    fn body(open: bool) -> Vec<u8> {
        let mut body = Vec::new();
        let mut encoder = Encoder::new(&mut body);
        let write = |encoder: &mut Encoder<&mut Vec<u8>>| {
            let begun = if open {
                encoder.begin_map()?
            } else {
                encoder.map(4)?
            };
            begun
                .str("ChildShards")?
                .array(1)?
                .map(1)?
                .str("x")?
                .null()?;
            encoder.str("NextShardIterator")?;
            if open {
                encoder.begin_str()?.str("a")?.str("bc")?.end()?;
            } else {
                encoder.str("abc")?;
            }
            encoder.str("MillisBehindLatest")?.u64(77)?.str("Records")?;
            let begun = if open {
                encoder.begin_array()?
            } else {
                encoder.array(1)?
            };
            let begun = if open {
                begun.begin_map()?
            } else {
                begun.map(4)?
            };
            begun
                .str("ApproximateArrivalTimestamp")?
                .tag(Tag::new(1))?
                .u64(1_700_000_000_123)?;
            encoder.str("PartitionKey")?.str("k")?.str("Data")?;
            if open {
                encoder.begin_bytes()?.bytes(b"ne")?.bytes(b"w")?.end()?;
            } else {
                encoder.bytes(b"new")?;
            }
            encoder.str("SequenceNumber")?.str(NUMBER)?;
            if open {
                encoder.end()?.end()?.end()?;
            }
            Ok::<_, minicbor::encode::Error<std::convert::Infallible>>(())
        };
        write(&mut encoder).expect("a vector takes all");
        body
    }

    #[test]
    fn answers_of_either_form_are_read() {
        for open in [false, true] {
            let body = body(open);
            let mut gather = Gather::new(0, body.len(), Position::START);
            let answered = answer(&body, &mut gather).expect("an answer");
            assert_eq!(answered.next.as_deref(), Some("abc"));
            assert_eq!(answered.behind_ms, 77);
            let (records, seen) = gather.done();
            assert_eq!((seen.records, seen.bytes), (1, 3));
            assert_eq!(records.position(0).to_decimal(), NUMBER);
            assert_eq!(records.arrival_ms(0), 1_700_000_000_123);
            assert_eq!((records.key(0), records.data(0)), (&b"k"[..], &b"new"[..]));
        }
    }

    #[test]
    fn the_end_of_a_shard_and_records_without_key_are_read() {
        let mut body = Vec::new();
        let mut encoder = Encoder::new(&mut body);
        let write = |encoder: &mut Encoder<&mut Vec<u8>>| {
            encoder
                .map(2)?
                .str("NextShardIterator")?
                .null()?
                .str("Records")?
                .array(1)?;
            encoder
                .map(3)?
                .str("SequenceNumber")?
                .str("7")?
                .str("Data")?
                .bytes(b"")?;
            encoder.str("PartitionKey")?.null()?;
            Ok::<_, minicbor::encode::Error<std::convert::Infallible>>(())
        };
        write(&mut encoder).expect("a vector takes all");
        let mut gather = Gather::new(0, 0, Position::START);
        let answered = answer(&body, &mut gather).expect("an answer");
        assert_eq!((answered.next, gather.done().0.key(0)), (None, &b""[..]));
    }

    #[test]
    fn what_other_servers_make_of_it_is_read() {
        let mut body = Vec::new();
        let mut encoder = Encoder::new(&mut body);
        let write = |encoder: &mut Encoder<&mut Vec<u8>>| {
            encoder.map(1)?.str("Records")?.array(1)?.map(3)?;
            encoder
                .str("SequenceNumber")?
                .str("7")?
                .str("Data")?
                .str("bmV3")?;
            encoder
                .str("ApproximateArrivalTimestamp")?
                .f64(1_700_000_000.25)?;
            Ok::<_, minicbor::encode::Error<std::convert::Infallible>>(())
        };
        write(&mut encoder).expect("a vector takes all");
        let mut gather = Gather::new(0, 0, Position::START);
        answer(&body, &mut gather).expect("an answer");
        let records = gather.done().0;
        assert_eq!(
            (records.data(0), records.arrival_ms(0)),
            (&b"new"[..], 1_700_000_000_250)
        );
    }

    #[test]
    fn what_breaks_off_or_is_no_answer_is_refused() {
        for open in [false, true] {
            let whole = body(open);
            for end in 0..whole.len() {
                let mut gather = Gather::new(0, 0, Position::START);
                let wrong = answer(&whole[..end], &mut gather).expect_err("it breaks off");
                assert!(matches!(wrong, Wrong::Malformed(_)), "{end}: {wrong:?}");
            }
        }
        for bad in [
            &b"{\"Records\":[]}"[..],
            &[0x80],
            &[0xa0],
            &[0xff],
            &[0xbf, 0xff, 0xff][1..],
        ] {
            let mut gather = Gather::new(0, 0, Position::START);
            assert!(answer(bad, &mut gather).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn errors_are_read_as_far_as_they_go() {
        let mut body = Vec::new();
        let mut encoder = Encoder::new(&mut body);
        let write = |encoder: &mut Encoder<&mut Vec<u8>>| {
            encoder
                .begin_map()?
                .str("__type")?
                .str("T")?
                .str("message")?
                .str("m")?
                .end()?;
            Ok::<_, minicbor::encode::Error<std::convert::Infallible>>(())
        };
        write(&mut encoder).expect("a vector takes all");
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(error(&body), (text("T"), text("m")));
        assert_eq!(error(&body[..body.len() - 4]), (text("T"), None));
        assert_eq!(error(b"<html>"), (None, None));
    }
}
