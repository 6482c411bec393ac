//! What was put and what became of it, and whether that is what the streams hold.

use std::collections::BTreeMap;

use hydrant_core::Position;

/// What a client knows about a record it put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was sent, and no answer came.
    Unknown,
    /// It was never sent in full.
    Unsent,
    /// It was taken, with this number.
    Acked(String, Position),
    /// It was refused by an answer of this status.
    Refused(u16),
}

#[derive(Debug)]
struct Put {
    client: u64,
    key: String,
    fate: Fate,
}

/// A record as a stream holds it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) shard: String,
    pub(crate) number: Position,
    pub(crate) key: String,
    pub(crate) data: Vec<u8>,
    pub(crate) arrival_ms: u64,
}

/// All that was put.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    puts: Vec<Put>,
}

/// The data of a record: its number, and padding.
fn data(id: usize, bytes: usize) -> Vec<u8> {
    let mut data = format!("{id:08} ").into_bytes();
    let fill = u8::try_from(id % 251).unwrap();
    data.resize(data.len() + bytes, fill);
    data
}

fn id_of(data: &[u8]) -> Option<usize> {
    let digits = data.get(..8)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl Ledger {
    /// A record that a client is about to put: its number and data.
    pub(crate) fn open(&mut self, client: u64, key: &str, bytes: usize) -> (usize, Vec<u8>) {
        let id = self.puts.len();
        self.puts.push(Put {
            client,
            key: key.to_owned(),
            fate: Fate::Unknown,
        });
        (id, data(id, bytes))
    }

    /// What the answer said of it.
    pub(crate) fn settle(&mut self, id: usize, fate: Fate) {
        let put = &mut self.puts[id];
        assert_eq!(put.fate, Fate::Unknown, "answered once");
        put.fate = fate;
    }

    /// Records that were acknowledged.
    pub(crate) fn acked(&self) -> u64 {
        let acked = |put: &&Put| matches!(put.fate, Fate::Acked(..));
        self.puts.iter().filter(acked).count() as u64
    }

    /// What is wrong with a record that a reader was given.
    pub(crate) fn check_read(&self, key: &str, read: &[u8]) -> Option<String> {
        let Some(id) = id_of(read).filter(|id| *id < self.puts.len()) else {
            return Some(format!("{} bytes were read that nobody put", read.len()));
        };
        let put = &self.puts[id];
        let same = read == data(id, read.len() - 9) && put.key == key;
        (!same).then(|| format!("record {id} was read with another key or other data"))
    }

    /// What is wrong with what the streams hold, which is given in their order.
    pub(crate) fn check(&self, stored: &[Stored]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut found: BTreeMap<usize, Vec<&Stored>> = BTreeMap::new();
        for record in stored {
            wrong.extend(self.check_read(&record.key, &record.data));
            if let Some(id) = id_of(&record.data) {
                found.entry(id).or_default().push(record);
            }
        }
        for (id, put) in self.puts.iter().enumerate() {
            let found = found.get(&id).map_or(&[][..], |found| found);
            match (&put.fate, found) {
                (Fate::Acked(shard, number), [one])
                    if *shard == one.shard && *number == one.number => {}
                // What failed within may have been written.
                (Fate::Unknown, [] | [_])
                | (Fate::Unsent | Fate::Refused(_), [])
                | (Fate::Refused(500..), [_]) => {}
                (fate, found) => wrong.push(format!(
                    "record {id} of client {}: {fate:?}, and it is there {} times: {:?}",
                    put.client,
                    found.len(),
                    found
                        .iter()
                        .map(|it| (&it.shard, it.number))
                        .collect::<Vec<_>>()
                )),
            }
        }
        wrong.extend(self.check_order(stored));
        wrong
    }

    /// Acknowledged one after another, a client's records of one key stand in that order; and
    /// arrivals never fall.
    fn check_order(&self, stored: &[Stored]) -> Vec<String> {
        let (mut wrong, mut last) = (Vec::new(), BTreeMap::new());
        for (id, put) in self.puts.iter().enumerate() {
            if let Fate::Acked(shard, number) = &put.fate {
                let before = last.insert((put.client, &put.key, shard), *number);
                if before.is_some_and(|before| before >= *number) {
                    wrong.push(format!(
                        "record {id} stands before one that was put earlier"
                    ));
                }
            }
        }
        for pair in stored.windows(2) {
            let (a, b) = (&pair[0], &pair[1]);
            if a.shard == b.shard && (a.number >= b.number || a.arrival_ms > b.arrival_ms) {
                wrong.push(format!("{} is out of order at {:?}", a.shard, b.number));
            }
        }
        wrong
    }
}
