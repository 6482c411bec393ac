//! The log against a model, by seed, through power cuts and kills at any write or sync.

use std::sync::atomic::Ordering;
use std::task::Poll;

use hydrant_core::BoxFuture;
use hydrant_core::rng::Rng;
use hydrant_log::{Appended, Entry, Error, Log, LogOptions, SyncPoint};
use hydrant_testkit::inline::poll_once;
use hydrant_testkit::sim::SimRng;

use crate::harness::{Bench, Row, block, read_all, small};

const LANES: u64 = 3;

type Append = BoxFuture<'static, Result<Vec<Appended>, Error>>;

/// What the log may hold: everything that was queued, in order; the record of index i has LSN
/// i + 1.
#[derive(Default)]
struct Model {
    queued: Vec<Row>,
    /// Acknowledged, or served by any reader: must be there for ever.
    promised: u64,
    /// The highest LSN below which anything was ever released.
    released: u64,
}

struct Life {
    bench: Bench,
    rng: SimRng,
    options: LogOptions,
    model: Model,
    waiting: Vec<(Vec<u64>, Append)>,
    releasing: Vec<BoxFuture<'static, Result<u64, Error>>>,
}

/// Lives through several crashes; gives what was broken.
pub(crate) fn live(seed: u64, skip_sync: Option<SyncPoint>) -> Result<(), String> {
    let rng = SimRng::new(seed);
    let mut options = small(skip_sync);
    options.cache_bytes = usize::try_from(rng.below(3) * 3000).unwrap();
    options.max_spare_segments = usize::try_from(rng.below(3)).unwrap();
    let mut life = Life {
        bench: Bench::new(),
        rng,
        options,
        model: Model::default(),
        waiting: Vec::new(),
        releasing: Vec::new(),
    };
    for _ in 0..4 {
        life.epoch()
            .map_err(|what| format!("seed {seed}: {what}"))?;
    }
    Ok(())
}

impl Life {
    /// Opens, works until the power goes or the process is killed, and crashes.
    fn epoch(&mut self) -> Result<(), String> {
        let powered = self.rng.below(4) == 0;
        self.bench
            .disk
            .power_off_after(if powered { 0 } else { 1 + self.rng.below(70) });
        let opened = self.bench.open(&self.options);
        if self.bench.disk.is_off() {
            drop(opened);
            self.crash(true);
            return Ok(());
        }
        let log = opened.map_err(|error| format!("it does not open: {error}"))?;
        self.check_recovered(&log)?;
        for _ in 0..self.rng.between(5, 60) {
            if self.bench.disk.is_off() {
                break;
            }
            self.act(&log)?;
        }
        let power = self.bench.disk.is_off() || self.rng.chance(50);
        drop(log);
        self.crash(power);
        Ok(())
    }

    /// Ends the process; with `power`, the machine too.
    fn crash(&mut self, power: bool) {
        self.waiting.clear();
        self.releasing.clear();
        self.bench.io.abandon();
        if power {
            self.bench.disk = self.bench.disk.crash(&self.rng);
        }
    }

    fn act(&mut self, log: &Log) -> Result<(), String> {
        match self.rng.below(10) {
            0..=3 => self.append(log),
            4..=6 => {
                self.bench.io.step();
            }
            7 => self.check_readable(log)?,
            8 => {
                let below = self.rng.below(self.model.promised + 2);
                self.model.released = self.model.released.max(below);
                let log = log.clone();
                self.releasing
                    .push(Box::pin(async move { log.release(below, u64::MAX).await }));
            }
            _ => {
                if !self.waiting.is_empty() && self.rng.chance(30) {
                    let at = usize::try_from(self.rng.below(self.waiting.len() as u64)).unwrap();
                    drop(self.waiting.swap_remove(at));
                }
                self.bench
                    .clock
                    .0
                    .store(1000 + self.rng.below(1000), Ordering::Relaxed);
            }
        }
        self.poll_all()
    }

    fn append(&mut self, log: &Log) {
        let mut entries = Vec::new();
        let mut lsns = Vec::new();
        for _ in 0..self.rng.between(1, 2) {
            let lane = u32::try_from(self.rng.below(LANES)).unwrap();
            let mut rows = Vec::new();
            lsns.push(self.model.queued.len() as u64 + 1);
            for _ in 0..self.rng.between(1, 3) {
                let lsn = self.model.queued.len() as u64 + 1;
                let len = usize::try_from(self.rng.below(300)).unwrap();
                let data: Vec<u8> = (0..len).map(|_| self.rng.next().to_le_bytes()[0]).collect();
                let key = self.rng.next().to_le_bytes().to_vec();
                rows.push((key.clone(), data.clone()));
                self.model.queued.push(Row {
                    lsn,
                    lane,
                    arrival_ms: 0,
                    key,
                    data,
                });
            }
            entries.push(Entry {
                lane,
                records: block(&rows),
            });
        }
        let log = log.clone();
        let mut append: Append = Box::pin(async move { log.append(entries).await });
        // The first poll queues it: from here on it may be there, whatever becomes of the future.
        assert!(poll_once(append.as_mut()).is_pending());
        self.waiting.push((lsns, append));
    }

    fn poll_all(&mut self) -> Result<(), String> {
        self.releasing
            .retain_mut(|release| poll_once(release.as_mut()).is_pending());
        let mut waiting = Vec::new();
        for (lsns, mut append) in std::mem::take(&mut self.waiting) {
            match poll_once(append.as_mut()) {
                Poll::Pending => waiting.push((lsns, append)),
                Poll::Ready(Ok(appended)) => {
                    let got: Vec<u64> = appended.iter().map(|one| one.first_lsn).collect();
                    if got != lsns {
                        return Err(format!("records {lsns:?} were numbered {got:?}"));
                    }
                    self.promise(lsns[lsns.len() - 1]);
                }
                Poll::Ready(Err(_)) if self.bench.disk.is_off() => {}
                Poll::Ready(Err(error)) => return Err(format!("append failed: {error}")),
            }
        }
        self.waiting = waiting;
        Ok(())
    }

    fn promise(&mut self, lsn: u64) {
        self.model.promised = self.model.promised.max(lsn);
    }

    /// Whatever is readable is what was queued, and is promised from then on.
    fn check_readable(&mut self, log: &Log) -> Result<(), String> {
        if self.bench.disk.is_off() {
            return Ok(());
        }
        let (oldest, end) = (log.oldest_lsn(), log.end_lsn());
        if oldest > self.model.released.max(1) {
            return Err(format!(
                "records from {} on are gone, {oldest} is the oldest",
                self.model.released
            ));
        }
        if end - 1 > self.model.queued.len() as u64 {
            return Err(format!(
                "it holds {} records, queued were {}",
                end - 1,
                self.model.queued.len()
            ));
        }
        let max_bytes = usize::try_from(self.rng.below(2000)).unwrap();
        let mut rows: Vec<Row> = (0..LANES)
            .flat_map(|lane| read_all(log, u32::try_from(lane).unwrap(), oldest, max_bytes))
            .collect();
        rows.sort_by_key(|row| row.lsn);
        if rows.len() as u64 != end - oldest {
            return Err(format!(
                "{} of {} records are there",
                rows.len(),
                end - oldest
            ));
        }
        let mut last_ms = 0;
        for (lsn, row) in (oldest..end).zip(&rows) {
            let model = &mut self.model.queued[usize::try_from(lsn - 1).unwrap()];
            if model.arrival_ms == 0 {
                model.arrival_ms = row.arrival_ms;
            }
            if *model != *row {
                return Err(format!("record {lsn} is another one"));
            }
            if row.arrival_ms < last_ms {
                return Err(format!("arrival of record {lsn} fell"));
            }
            last_ms = row.arrival_ms;
        }
        self.promise(end - 1);
        Ok(())
    }

    fn check_recovered(&mut self, log: &Log) -> Result<(), String> {
        let end = log.end_lsn();
        if end - 1 < self.model.promised {
            return Err(format!(
                "{} was promised, it ends at {end}",
                self.model.promised
            ));
        }
        // What was not acknowledged and is not there was never queued.
        if end - 1 <= self.model.queued.len() as u64 {
            self.model
                .queued
                .truncate(usize::try_from(end - 1).unwrap());
        }
        self.check_readable(log)
    }
}

#[test]
fn nothing_acknowledged_or_read_is_ever_lost() {
    for seed in 0..2000 {
        live(seed, None).unwrap();
    }
}
