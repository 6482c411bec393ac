//! The server as a host of a run: the real API on real streams, on a simulated disk.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hydrant_api::{Server, Settings};
use hydrant_core::clock::Clock;
use hydrant_log::stream::{PutEntry, Stream, StreamOptions, Streams};
use hydrant_log::{Env, LogOptions};
use hydrant_testkit::disk::SimAbort;
use turmoil::net::TcpListener;

use crate::ledger::{Fate, Stored};
use crate::world::{FlakyListener, NetClock, Shared, SlowIo, lock};

pub(crate) const HOST: &str = "server";
pub(crate) const PORT: u16 = 4567;
pub(crate) const STREAM: &str = "clicks";

/// Small, so that a run allocates little.
const SEGMENT_BYTES: u64 = 128 << 10;
/// The largest put of a run, and more.
const MAX_SEGMENT_BYTES: u64 = 4 << 20;

/// Serves until it is told to stop, and then says what the streams hold.
pub(crate) async fn host(shared: Arc<Shared>) -> turmoil::Result {
    let clock = Arc::new(NetClock::new(shared.now()));
    let abort = SimAbort::default();
    let env = Env {
        disk: Arc::new(lock(&shared.disk).clone()),
        io: Arc::new(SlowIo {
            shared: shared.clone(),
            clock: clock.clone(),
        }),
        clock: clock.clone(),
        abort: Arc::new(abort.clone()),
    };
    let options = LogOptions {
        first_segment_bytes: SEGMENT_BYTES,
        max_segment_bytes: MAX_SEGMENT_BYTES,
        ..LogOptions::default()
    };
    let (catalogue, rng) = (shared.catalogue.clone(), shared.rng.clone());
    let streams = Streams::open(env, Path::new("data"), catalogue, rng.clone(), options).await?;
    let streams = Arc::new(streams);
    let shards = shared.plan.shards;
    let options = StreamOptions {
        shards,
        ..StreamOptions::default()
    };
    let stream = streams.ensure(STREAM, options).await?;
    if shared.loaded().is_none() {
        load(&shared, &stream).await?;
    }
    let mut settings = Settings::new(([0, 0, 0, 0], PORT).into());
    settings.max_connections = shared.plan.max_connections;
    let listener = FlakyListener {
        inner: TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?,
        shared: shared.clone(),
    };
    let mut stop = shared.stop.subscribe();
    let account = shared.budget.account("api");
    shared.set_up();
    let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
    Server::over(listener, settings)
        .serve(streams.clone(), account, clock.clone(), rng, stopped)
        .await;
    let ended = clock.monotonic();
    shared.trace.note(format_args!("server ended at {ended:?}"));
    if (shared.open(), shared.budget.used()) != (0, 0) {
        let (open, used) = (shared.open(), shared.budget.used());
        shared.violation(format!(
            "{open} connections and {used} bytes are left at the end"
        ));
    }
    for reason in abort.reasons() {
        shared.violation(format!("the process gave up: {reason}"));
    }
    // What is written without being waited for.
    clock.sleep(Duration::from_secs(1)).await;
    *lock(&shared.ended) = Some((ended, all(&stream)));
    Ok(())
}

/// Puts records from within, so that there is an answer that fits no socket.
async fn load(shared: &Shared, stream: &Stream) -> turmoil::Result {
    let key = "loaded";
    for _ in 0..20 {
        let (id, data) = lock(&shared.ledger).open(0, key, 20_000);
        let record = PutEntry {
            data: &data,
            partition_key: key,
            explicit_hash_key: None,
        };
        let placed = stream.put(&[record]).await?[0];
        let fate = Fate::Acked(placed.shard.to_string(), placed.position);
        lock(&shared.ledger).settle(id, fate);
        *lock(&shared.loaded) = Some(placed.shard.to_string());
    }
    Ok(())
}

/// All records of a stream, shard by shard, in order.
fn all(stream: &Stream) -> Vec<Stored> {
    let mut stored = Vec::new();
    for shard in stream.shards() {
        let mut from = 0;
        loop {
            let blocks = stream.read_blocking(shard.id, from, 1 << 20).unwrap();
            let Some(last) = blocks.last().and_then(hydrant_core::Records::last_position) else {
                break;
            };
            from = stream.index_of(shard.id, last).unwrap() + 1;
            for block in blocks {
                stored.extend((0..block.len()).map(|i| Stored {
                    shard: shard.id.to_string(),
                    number: block.position(i),
                    key: String::from_utf8_lossy(block.key(i)).into_owned(),
                    data: block.data(i).to_vec(),
                    arrival_ms: block.arrival_ms(i),
                }));
            }
        }
    }
    stored
}
