//! A range: consecutive records of a lane that are delivered together. Open, it takes rendered
//! micro-batches; sealed, its cut is fixed and it waits for its objects and its turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use hydrant_core::budget::{Account, Permit};
use hydrant_core::offload::{Offload, run};
use hydrant_core::outcomes::PartitionKeys;
use hydrant_core::stage::{ErrorFormat, LostRecords, ObjectId, ObjectMeta, ObjectSink};
use hydrant_core::{BoxFuture, Digest, LaneKey, Position, planted};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::error::LaneError;
use crate::failed::{FailedRaw, Lines, by_kind, lines_bytes};
use crate::hints::{Hints, SealReason};
use crate::intent::{Intent, OVERRUNS_FULL, StageCall};
use crate::loss::{self, Loss};
use crate::name::{DATA, Named};
use crate::object::{self, Builder, Feed, PIECE_BYTES, Ready};
use crate::plan::Plan;
use crate::render::{PartitionPiece, Rendered};
use crate::status::Totals;

/// What all ranges of a lane share.
#[derive(Clone)]
pub(crate) struct RangeContext {
    pub(crate) key: Arc<LaneKey>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) offload: Arc<dyn Offload>,
    pub(crate) account: Account,
    pub(crate) generation: u64,
    /// Most micro-batches between transform and encoder, so the bound of an object's queue.
    pub(crate) slots: usize,
}

/// An object being built; resolves once all its bytes are with the sink.
pub(crate) type Building = BoxFuture<'static, Result<Ready, LaneError>>;

/// A partition, and the object that takes its outputs now.
struct OpenObject {
    /// `None` once the object has its size: the next piece begins another.
    feed: Option<mpsc::Sender<Feed>>,
    /// The number of the partition in the range.
    partition: usize,
    /// The number of the object among those of its partition.
    part: u32,
    plain_bytes: u64,
}

pub(crate) struct OpenRange {
    context: RangeContext,
    pub(crate) number: u64,
    first: Position,
    last: Position,
    at_ms: u64,
    batches: u32,
    objects: BTreeMap<PartitionKeys, OpenObject>,
    failures: Vec<FailedRaw>,
    failures_permit: Permit,
    overruns: Vec<StageCall>,
    totals: Totals,
    pub(crate) oldest_ms: u64,
    /// Whether it may end after what it holds now.
    pub(crate) cuttable: bool,
    /// The arrival in the key of the object without partition keys: of the intent where it is
    /// redone, else of the first record of that object.
    object_ms: Option<u64>,
    /// Records before its end are known to be lost. With partitions no later object of it has the
    /// name of one from before the loss: that one may have ended elsewhere.
    pub(crate) lossy: bool,
    /// One per object begun: those that had their size may be ready before the range is sealed.
    ready: Vec<Option<Ready>>,
    /// The number of each one's partition.
    partitions: Vec<usize>,
}

pub(crate) struct SealedRange {
    pub(crate) number: u64,
    pub(crate) intent: Intent,
    pub(crate) reason: SealReason,
    /// One per object, error objects last; `None` while it is being built.
    pub(crate) objects: Vec<Option<Ready>>,
    /// The number of the partition of each object of data: its objects become visible in order.
    pub(crate) partitions: Vec<usize>,
    pub(crate) totals: Totals,
    pub(crate) oldest_ms: u64,
    /// Records of it were lost after its intent: an object of its name may be there that still has
    /// them, and that one stands.
    pub(crate) maimed: bool,
    /// Its outputs are divided among partitions.
    pub(crate) divided: bool,
}

impl OpenRange {
    pub(crate) fn new(
        context: RangeContext,
        number: u64,
        first: Position,
        at_ms: u64,
        object_ms: Option<u64>,
    ) -> Self {
        let failures_permit = context.account.take_now(0);
        Self {
            context,
            number,
            first,
            last: first,
            at_ms,
            batches: 0,
            objects: BTreeMap::new(),
            failures: Vec::new(),
            failures_permit,
            overruns: Vec::new(),
            totals: Totals {
                ranges: 1,
                ..Totals::default()
            },
            oldest_ms: u64::MAX,
            cuttable: true,
            object_ms,
            lossy: false,
            ready: Vec::new(),
            partitions: Vec::new(),
        }
    }

    /// Takes the next micro-batch. Gives the objects that began with it.
    pub(crate) fn append(
        &mut self,
        rendered: Rendered,
        cuttable: bool,
        slot: &Arc<OwnedSemaphorePermit>,
    ) -> Result<Vec<Building>, LaneError> {
        self.last = rendered.last;
        self.cuttable = cuttable;
        self.oldest_ms = self.oldest_ms.min(rendered.oldest_ms);
        let batch = self.batches;
        self.batches += 1;
        self.overruns.extend(
            rendered
                .overruns
                .iter()
                .map(|call| StageCall { batch, ..*call }),
        );
        self.totals.read += rendered.records;
        self.totals.read_bytes += rendered.input_bytes;
        self.totals.added += rendered.added;
        self.totals.dropped += rendered.dropped;
        let mut failures = rendered.failures;
        let mut begun = Vec::new();
        for mut partition in rendered.pieces {
            if self.has_room_for(&partition.keys) {
                self.feed(partition, slot, &mut begun)?;
            } else {
                failures.append(&mut partition.refusable);
            }
        }
        failures.sort_by_key(|failed| (failed.failure.record, failed.failure.output));
        self.totals.failed += failures.len() as u64;
        self.failures_permit
            .resize(self.failures_permit.bytes() + lines_bytes(&failures));
        self.failures.extend(failures);
        Ok(begun)
    }

    /// Whether a partition is there, or may begin.
    fn has_room_for(&self, keys: &PartitionKeys) -> bool {
        let by = self.context.plan.partitioning.as_ref();
        let limit = by.and_then(|by| by.max_active);
        limit.is_none_or(|limit| self.objects.len() < limit || self.objects.contains_key(keys))
    }

    /// Hands a piece to the object of its partition; begins one where there is none with room.
    fn feed(
        &mut self,
        partition: PartitionPiece,
        slot: &Arc<OwnedSemaphorePermit>,
        begun: &mut Vec<Building>,
    ) -> Result<(), LaneError> {
        let PartitionPiece {
            keys,
            piece,
            first,
            arrival_ms,
            refusable: _,
        } = partition;
        self.totals.delivered += piece.records;
        self.totals.delivered_plain_bytes += piece.bytes as u64;
        let known = self.objects.get(&keys);
        let place = match known {
            Some(open) if open.feed.is_some() => None,
            Some(full) => Some((full.partition, full.part + 1)),
            None => Some((self.objects.len(), 0)),
        };
        if let Some((partition, part)) = place {
            let named = Named {
                keys: &keys,
                part,
                kind: DATA,
                from: self.lossy_from(first),
            };
            let (object, building) = self.begin(&named, partition, arrival_ms);
            self.objects.insert(keys.clone(), object);
            begun.push(building);
        }
        let feed = Feed {
            permit: self.context.account.take_now(piece.held + PIECE_BYTES),
            slot: slot.clone(),
            piece,
        };
        let by = self.context.plan.partitioning.as_ref();
        let part_bytes = by.map_or(u64::MAX, |by| by.part_bytes);
        let object = self.objects.get_mut(&keys).expect("begun above");
        object.plain_bytes += feed.piece.bytes as u64;
        let sender = object.feed.as_ref().expect("one with room was begun above");
        sender.try_send(feed).map_err(|error| match error {
            // The object's own error says why it ended.
            mpsc::error::TrySendError::Closed(_) => {
                LaneError::Invariant("an object ended before its range".into())
            }
            mpsc::error::TrySendError::Full(_) => {
                LaneError::Invariant("more micro-batches in flight than there are slots".into())
            }
        })?;
        if object.plain_bytes >= part_bytes {
            object.feed = None;
        }
        Ok(())
    }

    /// What an object's name says beside the range: after a loss, where it begins.
    fn lossy_from(&self, first: Position) -> Option<Position> {
        let divided = self.context.plan.partitioning.is_some();
        (self.lossy && divided).then_some(first)
    }

    /// An object that had its size has all its bytes with the sink.
    pub(crate) fn built(&mut self, index: usize, ready: Ready) {
        if let Some(slot) = self.ready.get_mut(index) {
            *slot = Some(ready);
        }
    }

    /// Bytes of all that comes out: records for objects, and lines for error objects.
    fn output_bytes(&self) -> u64 {
        self.totals.delivered_plain_bytes + self.failures_permit.bytes() as u64
    }

    /// Why the range must be sealed now, if it must: by what it holds, not by time.
    pub(crate) fn full(&self, hints: &Hints) -> Option<SealReason> {
        if !self.cuttable {
            None
        } else if self.output_bytes() >= hints.size_bytes {
            Some(SealReason::Size)
        } else if self.totals.read_bytes >= hints.input_bytes() {
            Some(SealReason::Input)
        } else if self.overruns.len() >= OVERRUNS_FULL {
            Some(SealReason::Decisions)
        } else {
            None
        }
    }

    /// Fixes the cut: after its last record, or where `cut` says. Gives the sealed range and its
    /// error objects, which begin only now.
    pub(crate) fn seal(
        mut self,
        reason: SealReason,
        cut: Option<Position>,
        losses: Vec<Loss>,
    ) -> (SealedRange, Vec<Building>) {
        let mut building = Vec::new();
        let maimed = reason == SealReason::Redo && cut.is_some();
        let failures = std::mem::take(&mut self.failures);
        for (kind, failures) in by_kind(failures) {
            self.totals.error_objects += 1;
            building.push(self.begin_errors(kind, failures));
        }
        for loss in losses {
            self.totals.error_objects += 1;
            self.totals.losses += 1;
            building.push(self.begin_loss(loss));
        }
        self.totals.objects = self.ready.len() as u64;
        let mut objects = std::mem::take(&mut self.ready);
        objects.extend((0..building.len()).map(|_| None));
        let sealed = SealedRange {
            number: self.number,
            intent: Intent {
                cut: cut.unwrap_or(self.last),
                version: self.context.plan.version,
                generation: self.context.generation,
                at_ms: self.at_ms,
                overruns: if planted!("overruns-not-recorded") {
                    Vec::new()
                } else {
                    self.overruns
                },
                first: Some(self.first),
                object_ms: self.object_ms,
            },
            reason,
            objects,
            partitions: self.partitions,
            totals: self.totals,
            oldest_ms: self.oldest_ms.min(self.at_ms),
            maimed,
            divided: self.context.plan.partitioning.is_some(),
        };
        (sealed, building)
    }

    /// Number of objects begun so far.
    pub(crate) fn started(&self) -> usize {
        self.ready.len()
    }

    fn begin(
        &mut self,
        named: &Named<'_>,
        partition: usize,
        arrival_ms: u64,
    ) -> (OpenObject, Building) {
        self.ready.push(None);
        self.partitions.push(partition);
        let Named { keys, part, .. } = *named;
        let arrival_ms = if keys.is_empty() && part == 0 {
            *self.object_ms.get_or_insert(arrival_ms)
        } else {
            arrival_ms
        };
        let plan = &self.context.plan;
        let digest = self.digest(named);
        let id = ObjectId {
            arrival_ms,
            digest,
            partition_keys: keys,
            error_kind: None,
            extension: plan.encode.extension(),
        };
        let encoding = plan.encode.content_encoding().map(str::to_owned);
        let mut meta = self.meta(&*plan.sink, &id, encoding);
        if plan.partitioning.is_some() {
            meta.metadata.push(("hydrant-part", part.to_string()));
        }
        let (feed, pieces) = mpsc::channel(self.context.slots);
        let builder = Builder {
            offload: self.context.offload.clone(),
            account: self.context.account.clone(),
            encode: plan.encode.clone(),
            id: digest,
            upload: plan.sink.object(meta),
        };
        let object = OpenObject {
            feed: Some(feed),
            partition,
            part,
            plain_bytes: 0,
        };
        (object, Box::pin(object::build(builder, pieces)))
    }

    fn begin_errors(&self, kind: &'static str, failures: Vec<FailedRaw>) -> Building {
        let arrival_ms = failures
            .first()
            .map_or(self.at_ms, |failed| failed.arrival_ms);
        let expected = lines_bytes(&failures);
        let mut lines = Lines::new(failures, self.context.key.lane.clone(), self.at_ms);
        let write = move |format: &dyn ErrorFormat, out: &mut Vec<u8>| lines.write(format, out);
        let digest = self.digest(&Named::whole(kind));
        self.begin_lines(kind, digest, arrival_ms, expected, write)
    }

    fn begin_loss(&self, loss: Loss) -> Building {
        let (lane, at_ms) = (self.context.key.lane.clone(), self.at_ms);
        let whole = self.digest(&Named::whole(loss::KIND));
        let digest = Digest::of_parts(&[whole.as_bytes(), &loss.id()]);
        let write = move |format: &dyn ErrorFormat, out: &mut Vec<u8>| {
            let report = LostRecords {
                lane: &lane,
                after: loss.after,
                until: loss.until,
                at_ms,
            };
            format.loss(&report, out);
            false
        };
        self.begin_lines(loss::KIND, digest, at_ms, 0, write)
    }

    /// Begins an error object of the lines that `write` makes, about `expected` bytes: piece by piece,
    /// as long as it says that there are more.
    fn begin_lines(
        &self,
        kind: &'static str,
        digest: Digest,
        arrival_ms: u64,
        expected: usize,
        mut write: impl FnMut(&dyn ErrorFormat, &mut Vec<u8>) -> bool + Send + 'static,
    ) -> Building {
        let plan = self.context.plan.clone();
        let id = ObjectId {
            arrival_ms,
            digest,
            partition_keys: &[],
            error_kind: Some(kind),
            extension: "",
        };
        let mut upload = plan
            .error_sink
            .object(self.meta(&*plan.error_sink, &id, None));
        let (offload, account) = (self.context.offload.clone(), self.context.account.clone());
        Box::pin(async move {
            let mut permit = account.take_now(expected);
            let (mut bytes, mut more) = (0, true);
            while more {
                let plan = plan.clone();
                let written = run(offload.clone(), move || {
                    let mut out = Vec::new();
                    let more = write(&*plan.error_format, &mut out);
                    (write, out, more)
                });
                let lines;
                (write, lines, more) = written.await?;
                bytes += lines.len() as u64;
                upload.write(lines.into()).await?;
            }
            permit.resize(upload.held_bytes());
            Ok(Ready {
                upload,
                bytes,
                permit,
            })
        })
    }

    fn digest(&self, named: &Named<'_>) -> Digest {
        let RangeContext {
            key, generation, ..
        } = &self.context;
        named.id(key, *generation, &self.first)
    }

    fn meta(
        &self,
        sink: &dyn ObjectSink,
        id: &ObjectId<'_>,
        encoding: Option<String>,
    ) -> ObjectMeta {
        ObjectMeta {
            key: sink.key(id),
            content_encoding: encoding,
            metadata: vec![
                ("hydrant-lane", self.context.key.lane.to_string()),
                ("hydrant-first", self.first.to_string()),
                ("hydrant-generation", self.context.generation.to_string()),
                ("hydrant-version", self.context.plan.version.to_hex()),
            ],
        }
    }
}

impl SealedRange {
    /// Whether anything of it becomes visible: only then it needs an intent.
    pub(crate) fn has_objects(&self) -> bool {
        !self.objects.is_empty()
    }

    /// Whether every object is ready to be made visible.
    pub(crate) fn is_ready(&self) -> bool {
        self.objects.iter().all(Option::is_some)
    }
}
