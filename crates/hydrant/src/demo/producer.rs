//! Puts the demo's events as an SDK would: 500 in a call, several calls under way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hydrant_log::stream::{PutEntry, Stream};
use tokio::task::JoinHandle;

use super::events::Events;
use super::progress::Progress;
use super::report::thread_cpu;

/// Records of one call: the most that Kinesis takes.
const CALL_RECORDS: u64 = 500;
/// Calls under way: enough that each sync of the log serves several.
const CALLS: usize = 8;

/// What was put, and what making it cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Produced {
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// CPU time of the generator, which is not the product's.
    pub(super) generating: Duration,
}

/// Puts `records` events; each call is answered after its sync.
pub(super) async fn put(
    stream: &Arc<Stream>,
    events: &mut Events,
    records: u64,
    progress: &mut Progress,
) -> anyhow::Result<Produced> {
    let mut produced = Produced::default();
    let mut calls: VecDeque<JoinHandle<anyhow::Result<()>>> = VecDeque::new();
    while produced.records < records {
        let count = CALL_RECORDS.min(records - produced.records);
        let before = thread_cpu();
        let call = make(events, count);
        produced.generating += thread_cpu().saturating_sub(before);
        produced.records += count;
        produced.bytes += call.data.len() as u64;
        let stream = stream.clone();
        calls.push_back(tokio::spawn(async move { call.put(&stream).await }));
        if calls.len() >= CALLS
            && let Some(call) = calls.pop_front()
        {
            call.await??;
        }
        progress.put(produced.records);
    }
    for call in calls {
        call.await??;
    }
    Ok(produced)
}

struct Call {
    data: Vec<u8>,
    /// End of each record in `data`, and its partition key.
    records: Vec<(usize, String)>,
}

fn make(events: &mut Events, count: u64) -> Call {
    let mut call = Call {
        data: Vec::new(),
        records: Vec::new(),
    };
    for _ in 0..count {
        let key = events.write(&mut call.data);
        call.records.push((call.data.len(), key));
    }
    call
}

impl Call {
    async fn put(&self, stream: &Stream) -> anyhow::Result<()> {
        let mut start = 0;
        let mut entries = Vec::with_capacity(self.records.len());
        for (end, key) in &self.records {
            entries.push(PutEntry {
                data: &self.data[start..*end],
                partition_key: key,
                explicit_hash_key: None,
            });
            start = *end;
        }
        stream.put(&entries).await?;
        Ok(())
    }
}
