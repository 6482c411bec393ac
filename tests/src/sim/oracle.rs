//! Watches everything that becomes durable or visible, and says what of it may not be.
//!
//! Invariants by number: reliability design, section 2.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hydrant_core::state::LaneState;
use hydrant_core::{Lane, Position};
use hydrant_log::stream::Parts;
use hydrant_pipeline::intent::Intent;
use hydrant_testkit::sim::bucket::Object;

use super::plan::{Place, Sizes};
use super::record::{FAILED, Line, OVERRAN, Verdict, loss, mix, verdict};
use super::stages::crc;

/// Watches one world.
pub struct Oracle(Mutex<Inner>);

/// Most violations that are kept.
const KEPT: usize = 20;

#[derive(Default)]
struct Inner {
    records: BTreeMap<u64, Record>,
    /// Who is where.
    places: BTreeMap<Lane, BTreeMap<Position, u64>>,
    lanes: BTreeMap<(usize, Lane), LaneView>,
    /// When what was read had arrived.
    arrivals: BTreeMap<Lane, BTreeMap<Position, u64>>,
    /// The last position that became visible, by reader, lane, kind and partition.
    visible: BTreeMap<(usize, Lane, bool, u64), Position>,
    parents: BTreeMap<Lane, Vec<Lane>>,
    /// What the source has trimmed.
    trimmed: BTreeMap<Lane, Position>,
    /// It says so, so that every loss is to be reported.
    tells: bool,
    /// What was reported as lost.
    losses: BTreeMap<(usize, Lane), Vec<Loss>>,
    wrong: Vec<String>,
    wrongs: u64,
    readers: usize,
    partitions: u64,
    overruns: bool,
    /// Workers share the positions, so that one may look at them late.
    shared: bool,
    /// Data lines and error lines, for the balance.
    lines: [u64; 2],
}

/// After which position something is lost, and to where.
type Loss = (Position, Bound<Position>);

/// What is known of a record.
#[derive(Default)]
struct Record {
    acked: bool,
    place: Option<(Lane, Position)>,
    /// What became visible of it, by reader.
    made: [Vec<Made>; 2],
}

/// A line that became visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Output(char, u64),
    Failed(char),
    Overran,
}

/// What is known of a lane of a reader.
#[derive(Default)]
struct LaneView {
    start: Option<Position>,
    durable: Option<LaneState>,
    /// Asked for and not answered: each may be found.
    maybe: Vec<LaneState>,
    /// Everything up to here was checked.
    checked: Option<Position>,
    /// Intended ranges, as what lies between two positions, of which the source has lost the beginning.
    /// What is left is another range to whoever redoes it, and may come twice.
    maimed: Vec<(Position, Position)>,
}

/// Whether a record comes after a start. In an embedded stream that has the number of the record
/// before, whatever else it says.
fn follows(position: Position, start: Position) -> bool {
    match (Parts::of(&position), Parts::of(&start)) {
        (Some(position), Some(start)) => position.index > start.index,
        _ => position > start,
    }
}

impl LaneView {
    /// Takes note where the source has lost the beginning of an intended range.
    fn maim(&mut self, lost: Position) -> bool {
        let states = self.durable.iter().chain(&self.maybe);
        let ranges = states
            .filter(|state| state.position < lost)
            .filter_map(|state| {
                let intent = Intent::decode(state.intent.as_ref()?).ok()?;
                Some((state.position, intent.cut))
            });
        let before = self.maimed.len();
        self.maimed.extend(ranges);
        self.maimed.len() > before
    }
}

impl Oracle {
    /// Watches a run of these sizes.
    pub(crate) fn new(sizes: &Sizes) -> Self {
        Self(Mutex::new(Inner {
            readers: sizes.readers,
            partitions: sizes.partitions,
            overruns: sizes.overruns > 0,
            tells: sizes.tells_trimmed,
            shared: sizes.place == Place::Table,
            ..Inner::default()
        }))
    }

    /// Everything that was found to be wrong so far.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.inner().wrong.clone()
    }

    /// Whether anything is wrong.
    pub(crate) fn is_broken(&self) -> bool {
        self.inner().wrongs > 0
    }

    /// Takes note of a violation.
    pub(crate) fn wrong(&self, what: String) {
        self.inner().wrong(what);
    }

    /// A record is on its way.
    pub(crate) fn sent(&self, number: u64) {
        self.inner().records.entry(number).or_default();
    }

    /// A record was acknowledged at this place.
    pub(crate) fn acked(&self, number: u64, lane: &Lane, position: Position) {
        let mut inner = self.inner();
        inner.place(number, lane, position);
        inner.records.entry(number).or_default().acked = true;
        for reader in 0..inner.readers {
            let view = inner.lanes.get(&(reader, lane.clone()));
            let passed = view.is_some_and(|view| {
                view.checked >= Some(position)
                    && view.start.is_some_and(|start| follows(position, start))
            });
            if passed && !inner.is_settled(number, reader) {
                inner.wrong(format!(
                    "I1: reader {reader} has passed {number} at {lane} {position} without it"
                ));
            }
        }
    }

    /// A source gave a record: it is durable.
    pub(crate) fn read(&self, number: Option<u64>, lane: &Lane, position: Position, at_ms: u64) {
        let mut inner = self.inner();
        let arrivals = inner.arrivals.entry(lane.clone()).or_default();
        arrivals.insert(position, at_ms);
        let before = arrivals.range(..position).next_back();
        let after = arrivals.range(position..).nth(1);
        if before.is_some_and(|(_, ms)| *ms > at_ms) || after.is_some_and(|(_, ms)| *ms < at_ms) {
            inner.wrong(format!("arrivals fall at {lane} {position}"));
        }
        match number {
            Some(number) if inner.records.contains_key(&number) => {
                inner.place(number, lane, position);
            }
            _ => inner.wrong(format!(
                "a damaged record was read at {lane} {position}: {number:?}"
            )),
        }
    }

    /// The log has nothing left: what arrives next knows of no earlier arrival.
    pub(crate) fn emptied(&self) {
        self.inner().arrivals.clear();
    }

    /// A lane is read: its start must be known for good.
    pub(crate) fn reads(&self, reader: usize, lane: &Lane) {
        let mut inner = self.inner();
        let view = inner.lanes.entry((reader, lane.clone())).or_default();
        if view.start.is_none() {
            inner.wrong(format!("{lane} is read before its start is stored"));
        }
    }

    /// A lane comes from others.
    pub(crate) fn parents(&self, lane: &Lane, parents: &[Lane]) {
        self.inner().parents.insert(lane.clone(), parents.to_vec());
    }

    /// The source has lost a lane up to here. Says whether that cuts into an intended range.
    pub(crate) fn trimmed(&self, lane: &Lane, position: Position) -> bool {
        let mut inner = self.inner();
        let trimmed = inner.trimmed.entry(lane.clone()).or_insert(position);
        *trimmed = (*trimmed).max(position);
        let lanes = inner.lanes.iter_mut().filter(|((_, of), _)| of == lane);
        lanes.fold(false, |maimed, (_, view)| view.maim(position) || maimed)
    }

    /// A lane was taken, and this was found to be stored.
    pub(crate) fn opened(&self, reader: usize, lane: &Lane, found: Option<&LaneState>) {
        let mut inner = self.inner();
        let shared = inner.shared;
        let view = inner.lanes.entry((reader, lane.clone())).or_default();
        let same = view.durable.as_ref() == found;
        let expected = same || view.maybe.iter().any(|state| Some(state) == found);
        let (durable, maybe) = (view.durable.take(), std::mem::take(&mut view.maybe));
        view.durable = found.cloned();
        // Another worker may have stored something that it does not know of yet.
        if !expected && !shared {
            let text = format!(
                "I2: {lane} of reader {reader} is found at {found:?}; was {durable:?} or {maybe:?}"
            );
            inner.wrong(text);
        }
        if let Some(found) = found {
            inner.commits(reader, lane, found);
        }
    }

    /// A state is being stored.
    pub(crate) fn storing(&self, reader: usize, lane: &Lane, next: &LaneState) {
        let mut inner = self.inner();
        let lost = inner.trimmed.get(lane).copied();
        let view = inner.lanes.entry((reader, lane.clone())).or_default();
        view.maybe.push(next.clone());
        if let Some(lost) = lost {
            view.maim(lost);
        }
    }

    /// A state is durable.
    pub(crate) fn stored(&self, reader: usize, lane: &Lane, next: &LaneState) {
        let mut inner = self.inner();
        let view = inner.lanes.entry((reader, lane.clone())).or_default();
        view.maybe.clear();
        let before = view.durable.replace(next.clone());
        if before.is_some_and(|before| before.position > next.position) {
            inner.wrong(format!("I2: {lane} moves back to {}", next.position));
        }
        inner.commits(reader, lane, next);
    }

    /// An object became visible in the bucket of a reader.
    pub(crate) fn object(&self, reader: usize, object: &Object) {
        let mut inner = self.inner();
        let key = &object.meta.key;
        let lane = object.meta.metadata.iter();
        let lane = lane.clone().find(|(name, _)| *name == "hydrant-lane");
        let lane = Lane::new(lane.map_or("", |(_, lane)| lane));
        if key.starts_with("source-records-lost/") {
            inner.lost(reader, &lane, object);
            return;
        }
        let failed = !key.starts_with("data/");
        let text = String::from_utf8_lossy(&object.bytes);
        let (mut first, mut last, mut partition) = (None, None, 0);
        for line in text.lines() {
            let Some(read) = Line::read(line) else {
                inner.wrong(format!("{key} holds a damaged line: {line}"));
                continue;
            };
            if last.is_some_and(|last| last > read.position) {
                inner.wrong(format!("I7: {key} is out of order at {}", read.position));
            }
            let own = if failed {
                0
            } else {
                mix(u64::from(crc(read.key.as_bytes()))) % inner.partitions
            };
            if first.is_some() && own != partition {
                inner.wrong(format!("{key} mixes partitions {partition} and {own}"));
            }
            partition = own;
            first.get_or_insert(read.position);
            last = Some(read.position);
            inner.line(reader, &lane, failed, &read);
        }
        let (Some(first), Some(last)) = (first, last) else {
            return;
        };
        let place = (reader, lane.clone(), failed, partition);
        if let Some(before) = inner.visible.insert(place, last)
            && before >= first
            && !inner.may_repeat(reader, &lane, first)
        {
            inner.wrong(format!(
                "I7: {key} comes after {before} and begins at {first}"
            ));
        }
        inner.intended(reader, &lane, key, first, last);
        inner.after_parents(reader, &lane);
    }

    /// Whether an object is of an intended range of which the source has lost records.
    pub(crate) fn is_of_maimed(&self, reader: usize, object: &Object) -> bool {
        let said = |name| {
            let mut all = object.meta.metadata.iter();
            all.find(|(other, _)| *other == name)
                .map(|(_, value)| value.as_str())
        };
        let (Some(lane), Some(first)) = (said("hydrant-lane"), said("hydrant-first")) else {
            return false;
        };
        let (sequence, sub) = first.split_once('.').unwrap_or((first, "0"));
        let sequence = Position::from_decimal(sequence);
        let first = sequence.zip(sub.parse().ok());
        let first = first.map(|(sequence, sub)| sequence.with_sub(sub));
        let inner = self.inner();
        first.is_some_and(|first| inner.may_repeat(reader, &Lane::new(lane), first))
    }

    /// Whether all that was acknowledged is delivered to all readers.
    pub(crate) fn is_done(&self) -> bool {
        self.inner().missing().next().is_none()
    }

    /// Takes note of everything that was acknowledged and is not delivered.
    pub(crate) fn check_missing(&self) {
        let mut inner = self.inner();
        let missing: Vec<_> = inner.missing().take(KEPT).collect();
        for (number, reader) in missing {
            let record = &inner.records[&number];
            let text = format!(
                "missing: reader {reader} has {:?} of {number} at {:?}",
                record.made[reader], record.place
            );
            inner.wrong(text);
        }
    }

    /// Acknowledged records, data lines and error lines so far.
    pub(crate) fn counts(&self) -> (u64, [u64; 2]) {
        let inner = self.inner();
        let acked = inner.records.values().filter(|record| record.acked);
        (acked.count() as u64, inner.lines)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn wrong(&mut self, what: String) {
        self.wrongs += 1;
        if self.wrong.len() < KEPT {
            self.wrong.push(what);
        }
    }

    /// A record stands there, and nobody else.
    fn place(&mut self, number: u64, lane: &Lane, position: Position) {
        let here = self.places.entry(lane.clone()).or_default();
        let other = *here.entry(position).or_insert(number);
        if other != number {
            self.wrong(format!(
                "{lane} {position} was given to {other} and to {number}"
            ));
        }
        let record = self.records.entry(number).or_default();
        let place = record.place.get_or_insert_with(|| (lane.clone(), position));
        if *place != (lane.clone(), position) {
            let text = format!("{number} is at {place:?} and at {lane} {position}");
            self.wrong(text);
        }
    }

    fn line(&mut self, reader: usize, lane: &Lane, failed: bool, read: &Line<'_>) {
        let number = read.number;
        self.lines[usize::from(failed)] += 1;
        if !self.records.contains_key(&number) {
            self.wrong(format!("unexpected: {number} was never sent"));
            return;
        }
        self.place(number, lane, read.position);
        let version = read.version;
        let made = match (failed, read.second, read.third.parse()) {
            (false, _, Ok(ordinal)) => Made::Output(version, ordinal),
            (true, FAILED, _) => Made::Failed(version),
            (true, OVERRAN, _) if self.overruns => Made::Overran,
            _ => {
                self.wrong(format!("unexpected: a line of {number} is {}", read.second));
                return;
            }
        };
        // Without partitions the names of data objects do not depend on what is lost.
        let repeats =
            (failed || self.partitions > 1) && self.may_repeat(reader, lane, read.position);
        let all = &mut self.records.entry(number).or_default().made[reader];
        let before = all.clone();
        if repeats && before.contains(&made) {
            return;
        }
        all.push(made);
        let verdict = verdict(version, number);
        let fits = match made {
            Made::Output(version, ordinal) => {
                let same = |one: &Made| matches!(one, Made::Output(v, _) if *v == version);
                matches!(verdict, Verdict::Outputs(count) if ordinal < count)
                    && before.iter().all(same)
            }
            Made::Failed(_) => verdict == Verdict::Failed && before.is_empty(),
            Made::Overran => before.is_empty(),
        };
        if !fits || before.contains(&made) {
            self.wrong(format!(
                "duplicate or unexpected: {made:?} of {number}, before it {before:?}"
            ));
        }
    }

    /// A report of a loss became visible: it says what is so.
    fn lost(&mut self, reader: usize, lane: &Lane, object: &Object) {
        let trimmed = self.trimmed.get(lane).copied();
        for line in String::from_utf8_lossy(&object.bytes).lines() {
            let Some((after, until)) = loss(line) else {
                self.wrong(format!("a damaged report of a loss: {line}"));
                continue;
            };
            let first = (Bound::Excluded(after), until);
            let here = self.places.get(lane).into_iter();
            let mut there = here.flat_map(|here| here.range(first));
            // What is reported as lost was trimmed, all of it.
            if let Some((position, _)) = there.find(|(position, _)| Some(**position) > trimmed) {
                let text = format!("{lane} {position} is reported as lost and was there: {line}");
                self.wrong(text);
            }
            let known = self.losses.entry((reader, lane.clone())).or_default();
            known.push((after, until));
        }
    }

    /// Whether it was reported that the source no longer had this.
    fn is_reported(&self, reader: usize, lane: &Lane, position: Position) -> bool {
        let losses = self.losses.get(&(reader, lane.clone()));
        let mut losses = losses.into_iter().flatten();
        losses.any(|(after, until)| (Bound::Excluded(*after), *until).contains(&position))
    }

    /// Whether the source broke its promise to give this record again in its range.
    fn may_repeat(&self, reader: usize, lane: &Lane, position: Position) -> bool {
        let view = self.lanes.get(&(reader, lane.clone()));
        let mut maimed = view.into_iter().flat_map(|view| &view.maimed);
        maimed.any(|(after, cut)| position > *after && position <= *cut)
    }

    /// I8: whether all that becomes of a record is visible.
    fn is_settled(&self, number: u64, reader: usize) -> bool {
        let made = self.records.get(&number).map(|one| &one.made[reader][..]);
        match made.unwrap_or_default() {
            [] => verdict('A', number) == Verdict::Dropped,
            [Made::Output(version, _), ..] => {
                let count = made.map_or(0, <[Made]>::len) as u64;
                verdict(*version, number) == Verdict::Outputs(count)
            }
            [Made::Failed(_) | Made::Overran, ..] => true,
        }
    }

    /// I1: everything up to a committed position is visible.
    fn commits(&mut self, reader: usize, lane: &Lane, state: &LaneState) {
        let view = self.lanes.entry((reader, lane.clone())).or_default();
        let start = *view.start.get_or_insert(state.position);
        let from = view.checked.unwrap_or(start);
        view.checked = Some(from.max(state.position));
        if state.position <= from {
            return;
        }
        let lost = self.trimmed.get(lane).copied().unwrap_or(Position::START);
        let range = (
            Bound::Excluded(from.max(lost)),
            Bound::Included(state.position),
        );
        let here = self.places.get(lane);
        let passed = (state.position > lost).then(|| here.map(|here| here.range(range)));
        let numbers: Vec<(Position, u64)> = passed
            .flatten()
            .into_iter()
            .flatten()
            .map(|(position, number)| (*position, *number))
            .collect();
        for (position, number) in numbers {
            if follows(position, start) && !self.is_settled(number, reader) {
                self.wrong(format!(
                    "I1: {lane} of reader {reader} is committed to {} without {number} at {position}",
                    state.position
                ));
            }
        }
    }

    /// I3: an object that becomes visible lies in a range whose intent is durable.
    fn intended(&mut self, reader: usize, lane: &Lane, key: &str, first: Position, last: Position) {
        let view = self.lanes.get(&(reader, lane.clone()));
        let durable = view.and_then(|view| view.durable.as_ref());
        let intent = durable.and_then(|state| state.intent.as_ref());
        let cut = intent.and_then(|intent| Intent::decode(intent).ok());
        let position = durable.map(|state| state.position);
        let within = cut.is_some_and(|intent| intent.cut >= last) && position < Some(first);
        if !within && !self.may_repeat(reader, lane, first) {
            self.wrong(format!(
                "I3: {key} of {first} to {last} has no intent; {lane} is at {position:?}"
            ));
        }
    }

    /// A child's records come after all of its parents'.
    fn after_parents(&mut self, reader: usize, lane: &Lane) {
        let parents = self.parents.get(lane).cloned().unwrap_or_default();
        for parent in parents {
            let lost = self.trimmed.get(&parent).copied();
            let here = self.places.get(&parent);
            let behind = here.into_iter().flatten().find(|(position, number)| {
                lost.is_none_or(|lost| **position > lost) && !self.is_settled(**number, reader)
            });
            if let Some((position, number)) = behind {
                let text = format!("I7: {lane} before {number} of its parent at {position}");
                self.wrong(text);
                return;
            }
        }
    }

    /// What was acknowledged and is not delivered.
    fn missing(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        let records = self.records.iter().filter(|(_, record)| record.acked);
        records.flat_map(move |(number, record)| {
            let missing = move |reader: &usize| {
                let Some((lane, position)) = &record.place else {
                    return true;
                };
                let view = self.lanes.get(&(*reader, lane.clone()));
                let start = view.and_then(|view| view.start);
                let lost = self.trimmed.get(lane).is_some_and(|lost| position <= lost);
                let lost = lost && (!self.tells || self.is_reported(*reader, lane, *position));
                let wanted = start.is_none_or(|start| follows(*position, start)) && !lost;
                wanted && !self.is_settled(*number, *reader)
            };
            (0..self.readers)
                .filter(missing)
                .map(|reader| (*number, reader))
        })
    }
}
