//! Tokens that clients hand back: shard iterators and page tokens. Opaque to them: base64 of a
//! version, a payload with a check, padded so that the length looks as Kinesis's does (8 above a
//! multiple of 16).

use base64_simd::STANDARD;
use hydrant_core::{Digest, Position};

/// How long a token may be used, milliseconds.
pub(super) const TOLERATED_MS: u64 = 300_000;

/// First bytes of every token.
const VERSION: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];

/// Longest token that is looked at: Kinesis's own limit.
const MAX_TOKEN_BYTES: usize = 512;

/// Bytes of the check.
const CHECK_BYTES: usize = 4;

/// Bytes of what comes before the name: check, kind, identity, shard, position, time.
const FIXED_BYTES: usize = CHECK_BYTES + 1 + 16 + 4 + 32 + 8;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A shard iterator.
    Iterator = 1,
    /// The next page of shards: after `shard`.
    Shards = 2,
    /// The next page of streams: after `name`.
    Streams = 3,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Digest of the stream's identity, so that a stream made again is told apart.
    pub(super) identity: [u8; 16],
    pub(super) shard: u32,
    /// Reading goes on after it.
    pub(super) after: Position,
    pub(super) issued_ms: u64,
    /// The stream's name.
    pub(super) name: String,
}

/// The part of an identity that goes into a token.
pub(super) fn identity_of(identity: &str) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&Digest::of(identity.as_bytes()).as_bytes()[..16]);
    short
}

impl Token {
    /// The token as text.
    pub(super) fn encode(&self) -> String {
        let mut payload = vec![self.kind as u8];
        payload.extend_from_slice(&self.identity);
        payload.extend_from_slice(&self.shard.to_be_bytes());
        payload.extend_from_slice(self.after.as_bytes());
        payload.extend_from_slice(&self.issued_ms.to_be_bytes());
        payload.extend_from_slice(self.name.as_bytes());
        let padded = (payload.len() + CHECK_BYTES).next_multiple_of(16) - CHECK_BYTES;
        payload.resize(padded, 0);
        STANDARD.encode_to_string([&VERSION[..], &check(&payload), &payload].concat())
    }

    /// Reads a token, in double quotes or without; `None` for one that was not made here.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let text = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            .unwrap_or(text);
        if text.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let bytes = STANDARD.decode_to_vec(text).ok()?;
        let rest = bytes.strip_prefix(&VERSION)?;
        if rest.len() < FIXED_BYTES {
            return None;
        }
        let (given, payload) = rest.split_at(CHECK_BYTES);
        if given != check(payload) {
            return None;
        }
        let (kind, rest) = payload.split_first()?;
        let (identity, rest) = rest.split_first_chunk()?;
        let (shard, rest) = rest.split_first_chunk()?;
        let (after, rest) = rest.split_first_chunk()?;
        let (issued, name) = rest.split_first_chunk()?;
        let end = name
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        Some(Self {
            kind: [Kind::Iterator, Kind::Shards, Kind::Streams]
                .into_iter()
                .find(|known| *known as u8 == *kind)?,
            identity: *identity,
            shard: u32::from_be_bytes(*shard),
            after: Position::from_bytes(*after),
            issued_ms: u64::from_be_bytes(*issued),
            name: String::from_utf8(name[..end].to_vec()).ok()?,
        })
    }

    /// Whether it is too old.
    pub(super) fn expired(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.issued_ms) > TOLERATED_MS
    }
}

fn check(payload: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&Digest::of(payload).as_bytes()[..CHECK_BYTES]);
    check
}

/// A time as Kinesis prints it in messages: `Thu Jan 01 00:00:00 UTC 1970`.
pub(super) fn utc(ms: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (days, second) = (ms / 86_400_000, ms / 1000 % 86_400);
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let weekday = DAYS
        .get(usize::try_from(days % 7).unwrap_or(0))
        .unwrap_or(&"Thu");
    // Whole cycles of 400 years first, so that the loop is short for every u64.
    let (mut year, mut day) = (1970 + days / 146_097 * 400, days % 146_097);
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [
        31,
        28 + u64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let mut name = "Jan";
    for (month, length) in MONTHS.iter().zip(lengths) {
        name = month;
        if day < length {
            break;
        }
        day -= length;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        "{weekday} {name} {:02} {hour:02}:{minute:02}:{second:02} UTC {year}",
        day + 1
    )
}

#[cfg(test)]
mod tests {
    use base64_simd::STANDARD;
    use hydrant_core::Position;

    use super::{Kind, Token, identity_of, utc};

    fn token(name: &str) -> Token {
        Token {
            kind: Kind::Iterator,
            identity: identity_of("clicks-1-ab"),
            shard: 3,
            after: Position::from_u64(77).with_sub(2),
            issued_ms: 1_700_000_000_000,
            name: name.to_owned(),
        }
    }

    #[test]
    fn tokens_come_back_quoted_or_not_and_nothing_else_does() {
        for name in ["c", "clicks", &"n".repeat(128)] {
            let text = token(name).encode();
            assert_eq!(Token::decode(&text), Some(token(name)));
            assert_eq!(Token::decode(&format!("\"{text}\"")), Some(token(name)));
            let bytes = STANDARD.decode_to_vec(&text).expect("base64");
            assert_eq!(
                (bytes.len() % 16, &bytes[..8]),
                (152 % 16, &[0, 0, 0, 0, 0, 0, 0, 1][..])
            );
            assert!(text.len() <= 512);
            let mut changed = bytes.clone();
            changed[40] ^= 1;
            assert_eq!(Token::decode(&STANDARD.encode_to_string(changed)), None);
            assert_eq!(
                Token::decode(&STANDARD.encode_to_string(&bytes[..60])),
                None
            );
        }
        for bad in ["", "x", "AAAA", "\"", "AAAAAAAAAAE="] {
            assert_eq!(Token::decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn tokens_expire_after_five_minutes() {
        let token = token("c");
        assert!(!token.expired(token.issued_ms + 300_000));
        assert!(token.expired(token.issued_ms + 300_001));
        assert!(
            !token.expired(0),
            "a clock that was set back expires nothing"
        );
    }

    #[test]
    fn times_in_messages() {
        assert_eq!(utc(0), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(utc(1_709_210_096_789), "Thu Feb 29 12:34:56 UTC 2024");
        assert_eq!(utc(1_735_689_599_000), "Tue Dec 31 23:59:59 UTC 2024");
        assert!(utc(u64::MAX).contains("UTC"));
    }
}
