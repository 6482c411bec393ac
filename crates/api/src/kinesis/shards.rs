//! Listing the shards of a stream.

use hydrant_core::Position;
use hydrant_log::stream::{Shard, ShardId, Stream};
use serde_json::{Value, json};

use super::Kinesis;
use super::token::{Kind, Token, identity_of};
use crate::protocol::{Checks, Fault, Members};
use crate::settings::ACCOUNT_ID;

/// Most shards in one answer of `ListShards`, and the default.
const LIST_MAX: usize = 1000;

/// Largest `MaxResults` that is taken.
const MAX_RESULTS: i64 = 10_000;

/// The kinds of filter, in the order that Kinesis prints.
const FILTERS: [&str; 6] = [
    "AFTER_SHARD_ID",
    "AT_TRIM_HORIZON",
    "FROM_TRIM_HORIZON",
    "AT_LATEST",
    "AT_TIMESTAMP",
    "FROM_TIMESTAMP",
];

impl Kinesis {
    pub(super) fn list_shards(&self, members: &Members<'_>) -> Result<Value, Fault> {
        let max = members.integer("MaxResults")?;
        let mut checks = Checks::default();
        if let Some(max) = max {
            checks.range(max, "maxResults", 1, MAX_RESULTS);
        }
        checks.done()?;
        let max = max
            .and_then(|max| usize::try_from(max).ok())
            .unwrap_or(LIST_MAX)
            .min(LIST_MAX);
        let (stream, from, filter) = self.asked(members)?;
        let keeps = |shard: &&Shard| filter.keeps(shard);
        let mut kept = stream.shards()[from..].iter().filter(keeps);
        let shown: Vec<&Shard> = kept.by_ref().take(max).collect();
        let mut answer = json!({ "Shards": shown.iter().copied().map(shape).collect::<Vec<_>>() });
        if let (true, Some(last)) = (kept.next().is_some(), shown.last()) {
            let token = Token {
                kind: Kind::Shards,
                identity: identity_of(stream.identity()),
                shard: last.id.0,
                // A page token carries its filter where an iterator carries its position.
                after: filter.encode(),
                issued_ms: self.now_ms(),
                name: stream.name().to_owned(),
            };
            answer["NextToken"] = token.encode().into();
        }
        Ok(answer)
    }

    /// The stream, the index of the first shard, and the filter that a call asks for.
    fn asked(
        &self,
        members: &Members<'_>,
    ) -> Result<(std::sync::Arc<Stream>, usize, Filter), Fault> {
        let name = members
            .string("StreamName")?
            .or(members.string("StreamARN")?);
        match (members.string("NextToken")?, name) {
            (Some(_), Some(_)) => Err(Fault::argument(
                "NextToken and StreamName cannot be provided together.",
            )),
            (None, None) => Err(Fault::argument(
                "Either NextToken or StreamName should be provided.",
            )),
            (Some(text), None) => {
                let token = self.page(text, Kind::Shards)?;
                let stream = self.find(Some(&token.name), None)?;
                if identity_of(stream.identity()) != token.identity {
                    return Err(super::naming::not_found(&token.name));
                }
                let from = stream
                    .shards()
                    .partition_point(|shard| shard.id.0 <= token.shard);
                Ok((stream, from, Filter::decode(token.after)))
            }
            (None, Some(_)) => {
                let stream = self.stream(members)?;
                self.check_creation(members, &stream)?;
                let from = after(&stream, members.string("ExclusiveStartShardId")?)?;
                let filter = members.structure("ShardFilter")?;
                let filter = filter.map_or(Ok(Filter::All), |filter| Filter::read(&filter))?;
                Ok((stream, from, filter))
            }
        }
    }

    /// `StreamCreationTimestamp` tells a stream apart from one that had the same name.
    fn check_creation(&self, members: &Members<'_>, stream: &Stream) -> Result<(), Fault> {
        match members.timestamp("StreamCreationTimestamp")? {
            // Clients may have cut it to whole seconds.
            Some(ms) if ms / 1000 != stream.created_ms() / 1000 => Err(Fault::not_found(format!(
                "Stream {} under account {ACCOUNT_ID} created at {}.{:03} not found, it is {} milliseconds old.",
                stream.name(),
                ms / 1000,
                ms % 1000,
                self.now_ms().saturating_sub(stream.created_ms())
            ))),
            _ => Ok(()),
        }
    }
}

/// Which shards are listed (reference, section 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    /// All that are kept.
    All,
    /// Open now.
    Open,
    /// With a larger id.
    After(ShardId),
    /// Open at this second.
    AtSecond(u64),
    /// Open at this second or later.
    FromSecond(u64),
}

impl Filter {
    fn read(filter: &Members<'_>) -> Result<Self, Fault> {
        let kind = filter.string("Type")?;
        let (shard, time) = (filter.string("ShardId")?, filter.timestamp("Timestamp")?);
        let mut checks = Checks::default();
        match kind {
            None => checks.missing("shardFilter.type"),
            Some(kind) if !FILTERS.contains(&kind) => {
                let shown: String = kind.chars().take(64).collect();
                let set = format!(
                    "Member must satisfy enum value set: [{}]",
                    FILTERS.join(", ")
                );
                checks.fail(Some(&shown), "shardFilter.type", &set);
            }
            Some(_) => {}
        }
        checks.done()?;
        let needs = |what: &str| {
            Fault::argument(format!(
                "ShardFilter of type {} needs {what}.",
                kind.unwrap_or_default()
            ))
        };
        Ok(match kind.unwrap_or_default() {
            "AFTER_SHARD_ID" => {
                let shard = shard.ok_or_else(|| needs("ShardId"))?;
                Self::After(ShardId::parse(shard).ok_or_else(|| needs("the id of a shard"))?)
            }
            "AT_LATEST" => Self::Open,
            // Shards that are listed were all open at the horizon, or came from one that was.
            "AT_TRIM_HORIZON" => Self::AtSecond(0),
            "AT_TIMESTAMP" => Self::AtSecond(time.ok_or_else(|| needs("Timestamp"))? / 1000),
            "FROM_TIMESTAMP" => Self::FromSecond(time.ok_or_else(|| needs("Timestamp"))? / 1000),
            _ => Self::All,
        })
    }

    fn keeps(self, shard: &Shard) -> bool {
        let open_at = |second: u64| shard.closed_s.is_none_or(|closed| closed >= second);
        match self {
            Self::All => true,
            Self::Open => shard.closed_s.is_none(),
            Self::After(id) => shard.id > id,
            // A time before the stream was made is its beginning: shards without parents.
            Self::AtSecond(second) => {
                (shard.created_s <= second || shard.parent.is_none()) && open_at(second)
            }
            Self::FromSecond(second) => open_at(second),
        }
    }

    fn encode(self) -> Position {
        let (kind, value) = match self {
            Self::All => (0, 0),
            Self::Open => (1, 0),
            Self::After(id) => (2, u64::from(id.0)),
            Self::AtSecond(second) => (3, second),
            Self::FromSecond(second) => (4, second),
        };
        Position::from_u64(kind).with_sub(value)
    }

    fn decode(position: Position) -> Self {
        let value = position.sub_sequence();
        match position.sequence_u64() {
            1 => Self::Open,
            2 => Self::After(ShardId(u32::try_from(value).unwrap_or(u32::MAX))),
            3 => Self::AtSecond(value),
            4 => Self::FromSecond(value),
            _ => Self::All,
        }
    }
}

/// The index of the first shard after the one of this id; 0 without one.
pub(super) fn after(stream: &Stream, id: Option<&str>) -> Result<usize, Fault> {
    let Some(text) = id else { return Ok(0) };
    let id = ShardId::parse(text).ok_or_else(|| no_shard(stream, text))?;
    Ok(stream.shards().partition_point(|shard| shard.id <= id))
}

/// The shard that a text names.
pub(super) fn named<'a>(stream: &'a Stream, text: &str) -> Result<&'a Shard, Fault> {
    let id = ShardId::parse(text).ok_or_else(|| no_shard(stream, text))?;
    stream.shard(id).map_err(|error| super::fault(&error))
}

fn no_shard(stream: &Stream, text: &str) -> Fault {
    let shown: String = text.chars().take(128).collect();
    let name = stream.name();
    Fault::not_found(format!(
        "Could not find shard {shown} in stream {name} under account {ACCOUNT_ID}."
    ))
}

/// A shard as answers carry it.
pub(super) fn shape(shard: &Shard) -> Value {
    let mut range = json!({ "StartingSequenceNumber": shard.starting().to_decimal() });
    if let Some(ending) = shard.ending() {
        range["EndingSequenceNumber"] = ending.to_decimal().into();
    }
    let mut shape = json!({
        "ShardId": shard.id.to_string(),
        "HashKeyRange": {
            "StartingHashKey": shard.range.first.to_string(),
            "EndingHashKey": shard.range.last.to_string(),
        },
        "SequenceNumberRange": range,
    });
    if let Some(parent) = shard.parent {
        shape["ParentShardId"] = parent.to_string().into();
    }
    if let Some(parent) = shard.adjacent_parent {
        shape["AdjacentParentShardId"] = parent.to_string().into();
    }
    shape
}

#[cfg(test)]
mod tests {
    use hydrant_log::stream::{HashRange, Shard, ShardId};

    use super::Filter;

    fn shard(id: u32, parent: Option<u32>, created_s: u64, closed_s: Option<u64>) -> Shard {
        Shard {
            id: ShardId(id),
            range: HashRange { first: 0, last: 9 },
            parent: parent.map(ShardId),
            adjacent_parent: None,
            created_s,
            closed_s,
        }
    }

    #[test]
    fn filters_over_a_split() {
        let shards = [
            shard(0, None, 100, Some(200)),
            shard(1, Some(0), 201, None),
            shard(2, Some(0), 201, None),
        ];
        for (filter, kept) in [
            (Filter::All, &[0, 1, 2][..]),
            (Filter::Open, &[1, 2]),
            (Filter::After(ShardId(1)), &[2]),
            (Filter::AtSecond(0), &[0]),
            (Filter::AtSecond(150), &[0]),
            (Filter::AtSecond(201), &[1, 2]),
            (Filter::FromSecond(200), &[0, 1, 2]),
            (Filter::FromSecond(201), &[1, 2]),
        ] {
            let ids: Vec<u32> = shards
                .iter()
                .filter(|it| filter.keeps(it))
                .map(|it| it.id.0)
                .collect();
            assert_eq!(ids, kept, "{filter:?}");
            assert_eq!(Filter::decode(filter.encode()), filter);
        }
    }
}
