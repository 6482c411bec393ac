//! A simulated source: every lane's records are known from the start and appear over time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hydrant_core::budget::Account;
use hydrant_core::clock::Clock as _;
use hydrant_core::stage::{Block, LaneInfo, Read, Source, SourceError};
use hydrant_core::{BoxFuture, Lane, Position, Records};

use super::world::{World, lock};

/// How often a read that waits looks again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A source of known records.
pub struct SimSource {
    world: World,
    lanes: BTreeMap<Lane, SimLane>,
    /// Percent of reads that fail.
    pub fails_percent: Arc<AtomicU64>,
    /// Whether a read from what is trimmed is refused, as by the embedded stream; else it goes on
    /// behind that and says nothing, as Kinesis does.
    pub tells_trimmed: bool,
}

struct SimLane {
    records: Records,
    ends: bool,
    parents: Vec<Lane>,
    /// When it is there from, by the monotonic clock.
    opens: Duration,
    /// What is gone from its start.
    trimmed: Mutex<Position>,
}

impl SimSource {
    /// A source without lanes.
    pub fn new(world: &World) -> Self {
        Self {
            world: world.clone(),
            lanes: BTreeMap::new(),
            fails_percent: Arc::default(),
            tells_trimmed: false,
        }
    }

    /// Adds a lane. A record can be read once the wall clock passes its arrival; a lane that
    /// `ends` says so after its last record.
    #[must_use]
    pub fn with_lane(self, name: &str, records: Records, ends: bool) -> Self {
        self.with_child(name, &[], Duration::ZERO, records, ends)
    }

    /// Adds a lane that comes from others, at a moment of the monotonic clock.
    #[must_use]
    pub fn with_child(
        mut self,
        name: &str,
        parents: &[&str],
        opens: Duration,
        records: Records,
        ends: bool,
    ) -> Self {
        let lane = SimLane {
            records,
            ends,
            parents: parents.iter().map(|parent| Lane::new(*parent)).collect(),
            opens,
            trimmed: Mutex::new(Position::START),
        };
        self.lanes.insert(Lane::new(name), lane);
        self
    }

    /// Trims a lane: everything up to `position` is gone, and reads go on behind it.
    pub fn trim(&self, lane: &Lane, position: Position) {
        if let Some(lane) = self.lanes.get(lane) {
            let mut trimmed = lock(&lane.trimmed);
            *trimmed = (*trimmed).max(position);
        }
    }

    /// How far a lane is trimmed.
    pub fn trimmed(&self, lane: &Lane) -> Position {
        let lane = self.lanes.get(lane);
        lane.map_or(Position::START, |lane| *lock(&lane.trimmed))
    }

    /// All lanes with their records.
    pub fn all(&self) -> impl Iterator<Item = (&Lane, &[Lane], &Records)> {
        self.lanes
            .iter()
            .map(|(name, lane)| (name, &lane.parents[..], &lane.records))
    }

    /// What is there after `after` now: a random number of records in random blocks.
    fn look(&self, lane: &SimLane, after: Position, max_bytes: usize) -> (Vec<Records>, bool) {
        let (all, now) = (&lane.records, self.world.wall_ms());
        let mut at = all.first_after(after.max(*lock(&lane.trimmed)));
        let (mut blocks, mut bytes) = (Vec::new(), 0);
        for _ in 0..self.world.rng.between(1, 3) {
            let start = at;
            let most = usize::try_from(self.world.rng.between(1, 7)).unwrap_or(1);
            while at < all.len() && all.arrival_ms(at) <= now {
                let inside = at > 0 && all.position(at).same_sequence(&all.position(at - 1));
                if (at - start >= most || bytes >= max_bytes) && !inside {
                    break;
                }
                bytes += all.data_len(at);
                at += 1;
            }
            if at > start {
                blocks.push(all.slice(start, at));
            }
        }
        (blocks, lane.ends && at == all.len())
    }
}

impl Source for SimSource {
    fn identity(&self) -> &'static str {
        "sim-stream-1"
    }

    fn lanes(&self) -> BoxFuture<'_, Result<Vec<LaneInfo>, SourceError>> {
        let now = self.world.monotonic();
        let there = self.lanes.iter().filter(|(_, lane)| lane.opens <= now);
        let lanes = there.map(|(name, lane)| LaneInfo {
            lane: name.clone(),
            parents: lane.parents.clone(),
        });
        let lanes = lanes.collect();
        Box::pin(async move { Ok(lanes) })
    }

    fn start<'a>(&'a self, _lane: &'a Lane) -> BoxFuture<'a, Result<Position, SourceError>> {
        Box::pin(async { Ok(Position::START) })
    }

    fn read<'a>(
        &'a self,
        lane: &'a Lane,
        after: Position,
        max_bytes: usize,
        wait: Duration,
        account: &'a Account,
    ) -> BoxFuture<'a, Result<Read, SourceError>> {
        Box::pin(async move {
            let lane = self.lanes.get(lane);
            let lane = lane.ok_or_else(|| SourceError::Broken("no such lane".into()))?;
            let until = self.world.monotonic() + wait;
            loop {
                self.world.random_pause(3).await;
                if self
                    .world
                    .rng
                    .chance(self.fails_percent.load(Ordering::Relaxed))
                {
                    self.world.trace.fired("source throttled");
                    return Err(SourceError::Unavailable("simulated throttle".into()));
                }
                let through = *lock(&lane.trimmed);
                if self.tells_trimmed && after < through {
                    return Err(SourceError::Trimmed { after, through });
                }
                let (records, ended) = self.look(lane, after, max_bytes);
                if !records.is_empty() || ended || self.world.monotonic() >= until {
                    let mut blocks = Vec::new();
                    for records in records {
                        let bytes = records.held_bytes();
                        // Never wait while holding: what is here already must get through.
                        let permit = if blocks.is_empty() {
                            account.take(bytes).await
                        } else if let Some(permit) = account.try_take(bytes) {
                            permit
                        } else {
                            return Ok(Read {
                                blocks,
                                ended: false,
                            });
                        };
                        blocks.push(Block { records, permit });
                    }
                    return Ok(Read { blocks, ended });
                }
                self.world.sleep(LOOK_EVERY).await;
            }
        })
    }

    fn committed(&self, _lane: &Lane, _position: Position) {}
}
