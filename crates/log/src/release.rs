//! Space: spent segments go or become spares, and a nearly full disk refuses data.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hydrant_core::{offload, planted};

use crate::env::{Content, SyncPoint};
use crate::error::Error;
use crate::log::{Inner, lock};
use crate::segment::spare_name;
use crate::site::{Spare, failed};
use crate::view::Segment;

/// While the disk is nearly full, its free space is looked at this often at most.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

impl Inner {
    /// Frees spent segments, oldest first and one durably before the next, so that a crash never
    /// leaves a hole in the chain. Blocks.
    pub(crate) fn release(&self, below_lsn: u64, before_ms: u64) -> Result<u64, Error> {
        let one_at_a_time = lock(&self.releasing);
        let mut freed_bytes = 0;
        loop {
            if self.failed.load(Ordering::Acquire) {
                return Err(Error::Failed);
            }
            let oldest = {
                let mut view = lock(&self.view);
                let spent = view.oldest_is_spent(below_lsn, before_ms);
                spent.then(|| view.pop_oldest()).flatten()
            };
            let Some(oldest) = oldest else { break };
            let bytes = oldest.allocated_bytes;
            match self.retire(&oldest) {
                Ok(()) => freed_bytes += bytes,
                Err(error) => {
                    lock(&self.view).push_oldest(oldest);
                    if matches!(error, Error::Failed) {
                        self.fail();
                    }
                    return Err(error);
                }
            }
        }
        drop(one_at_a_time);
        if freed_bytes > 0 {
            self.measure_space();
        }
        Ok(freed_bytes)
    }

    fn retire(&self, segment: &Segment) -> Result<(), Error> {
        if planted!("spare-reused-under-its-name") {
            lock(&self.spares).push(Spare {
                path: segment.path.to_path_buf(),
                file: segment.file.clone(),
                bytes: segment.allocated_bytes,
            });
            return Ok(());
        }
        let disk = &self.site.env.disk;
        let max = self.site.options.max_spare_segments;
        if max == 0 || self.low_space() {
            disk.remove(&segment.path)
                .map_err(|e| failed("removing", &segment.path, e))?;
            return self.site.sync_dir(SyncPoint::Release);
        }
        let path = self.site.dir.join(spare_name(segment.number));
        disk.rename(&segment.path, &path)
            .map_err(|e| failed("renaming", &segment.path, e))?;
        self.site.sync_dir(SyncPoint::Release)?;
        let mut spares = lock(&self.spares);
        spares.push(Spare {
            path,
            file: segment.file.clone(),
            bytes: segment.allocated_bytes,
        });
        spares.sort_by_key(|spare| std::cmp::Reverse(spare.bytes));
        let kept = max.min(spares.len());
        for spare in spares.drain(kept..) {
            // The segment is released all the same; the file is a spare again at the next start.
            if let Err(error) = disk.remove(&spare.path) {
                let (error, file) = (&error as &dyn std::error::Error, spare.path.display());
                tracing::warn!(error, %file, "a spare file was not removed");
            }
        }
        Ok(())
    }

    /// Whether data is refused.
    pub(crate) fn low_space(&self) -> bool {
        self.low.load(Ordering::Acquire)
    }

    /// Looks at the free space of the disk, where that decides anything.
    pub(crate) fn measure_space(&self) {
        if self.site.options.content == Content::State {
            return;
        }
        *lock(&self.measured) = Some(self.site.env.clock.monotonic());
        let Ok(space) = self.site.env.disk.space(&self.site.dir) else {
            return; // Where it cannot be told, the next allocation tells.
        };
        let options = &self.site.options;
        let below = |percent: u64| {
            u128::from(space.available) * 100 < u128::from(space.total) * u128::from(percent)
        };
        let percent = if self.low_space() {
            options.resume_percent
        } else {
            options.low_space_percent
        };
        let low = below(percent) || space.available < options.low_space_bytes;
        if self.low.swap(low, Ordering::AcqRel) != low {
            let free_bytes = space.available;
            if low {
                tracing::warn!(dir = %self.site.dir.display(), free_bytes, "disk is nearly full");
            } else {
                tracing::info!(dir = %self.site.dir.display(), free_bytes, "disk has room again");
            }
        }
    }

    /// Takes note that an allocation failed for lack of space.
    pub(crate) fn note_full(&self, error: &Error) {
        if matches!(error, Error::LowSpace) && self.site.options.content == Content::Data {
            *lock(&self.measured) = Some(self.site.env.clock.monotonic());
            self.low.store(true, Ordering::Release);
        }
    }

    /// Refuses data while the disk is nearly full, looking again now and then.
    pub(crate) async fn admit(self: &std::sync::Arc<Self>) -> Result<(), Error> {
        if !self.low_space() {
            return Ok(());
        }
        let now = self.site.env.clock.monotonic();
        let due = lock(&self.measured).is_none_or(|last| now >= last + MEASURE_EVERY);
        if due {
            let inner = self.clone();
            let looked = offload::run(self.site.env.io.clone(), move || inner.measure_space());
            if looked.await.is_err() {
                return Err(Error::LowSpace);
            }
        }
        if self.low_space() {
            Err(Error::LowSpace)
        } else {
            Ok(())
        }
    }
}
