//! What waits for a group commit, and who runs it. The first append that finds no flush running
//! leads: it hands one job to the I/O threads, which takes groups until nothing waits.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use hydrant_core::offload::Job;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::Error;
use crate::frame::{FOOTER_BYTES, frame_bytes};
use crate::log::{Appended, Entry, Inner, lock};

/// How often one append leads at most: one job serves all that may wait, with room to spare.
const MAX_LEADS: usize = 64;

pub(crate) type Answer = Result<Vec<Appended>, Error>;

/// An append that waits.
pub(crate) struct Waiting {
    pub(crate) entries: Vec<Entry>,
    /// Most bytes that its frames take.
    pub(crate) bytes: usize,
    /// It begins a new segment.
    pub(crate) roll: bool,
    pub(crate) reply: oneshot::Sender<Answer>,
    /// Its share of what may wait; given back when it is answered.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// All that waits, in order.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Waiting>,
    flushing: bool,
}

/// What the flush does next.
pub(crate) enum Step {
    /// Nothing waits; the flush is over.
    Idle,
    /// The next append needs a new segment with room for so many bytes.
    Roll(usize),
    /// These go out together.
    Group(Vec<Waiting>),
}

/// Most bytes that the frames of these entries take.
pub(crate) fn bytes_of(entries: &[Entry]) -> usize {
    entries
        .iter()
        .map(|entry| frame_bytes(&entry.records))
        .sum()
}

impl Queue {
    /// What to do with `room` bytes left in the active segment, which is `fresh` while nothing was
    /// written to it.
    fn next_step(&mut self, room: usize, fresh: bool, max_group_bytes: usize) -> Step {
        let Some(first) = self.waiting.front() else {
            self.flushing = false;
            return Step::Idle;
        };
        if first.bytes + FOOTER_BYTES > room || (first.roll && !fresh) {
            return Step::Roll(first.bytes + FOOTER_BYTES);
        }
        let mut bytes = 0;
        let mut group = Vec::new();
        while let Some(next) = self.waiting.front() {
            let sum: usize = bytes + next.bytes;
            let fits = sum + FOOTER_BYTES <= room && sum <= max_group_bytes && !next.roll;
            if !group.is_empty() && !fits {
                break;
            }
            bytes = sum;
            group.extend(self.waiting.pop_front());
        }
        Step::Group(group)
    }
}

impl Inner {
    /// Queues an append and runs what makes its entries under the queue's lock, so that whoever
    /// builds them knows their place in the order.
    pub(crate) fn enqueue<E: From<Error>>(
        &self,
        permit: Option<OwnedSemaphorePermit>,
        roll: bool,
        build: impl FnOnce() -> Result<Vec<Entry>, E>,
    ) -> Result<oneshot::Receiver<Answer>, E> {
        let (reply, answer) = oneshot::channel();
        let mut queue = lock(&self.queue);
        if self.failed.load(Ordering::Acquire) {
            return Err(Error::Failed.into());
        }
        let entries = build()?;
        if entries.is_empty() && !roll {
            // Nobody listens where the future was dropped.
            drop(reply.send(Ok(Vec::new())));
            return Ok(answer);
        }
        let bytes = bytes_of(&entries);
        queue.waiting.push_back(Waiting {
            entries,
            bytes,
            roll,
            reply,
            permit,
        });
        Ok(answer)
    }

    /// Waits for the answer, leading the flush where nobody does.
    pub(crate) async fn answered(
        self: &Arc<Self>,
        mut answer: oneshot::Receiver<Answer>,
    ) -> Answer {
        // A pool that was closed drops every job: then this ends instead of spinning.
        let mut leads = 0;
        while leads < MAX_LEADS {
            let mut wanted = pin!(self.leader_wanted.notified());
            wanted.as_mut().enable();
            if let Some(job) = self.lead() {
                leads += 1;
                self.site.env.io.submit(job).await;
            }
            let answered = poll_fn(|context| {
                if let Poll::Ready(answer) = std::pin::Pin::new(&mut answer).poll(context) {
                    return Poll::Ready(Some(answer));
                }
                wanted.as_mut().poll(context).map(|()| None)
            });
            if let Some(answer) = answered.await {
                return answer.unwrap_or(Err(Error::Failed));
            }
        }
        Err(Error::Failed)
    }

    /// The job that flushes, where something waits and nobody runs it.
    pub(crate) fn lead(self: &Arc<Self>) -> Option<Job> {
        let mut queue = lock(&self.queue);
        if queue.flushing || queue.waiting.is_empty() {
            return None;
        }
        queue.flushing = true;
        let lead = Lead {
            inner: self.clone(),
            started: false,
            idle: false,
        };
        Some(Box::new(move || lead.run()))
    }

    pub(crate) fn next_step(&self, room: usize, fresh: bool) -> Step {
        lock(&self.queue).next_step(room, fresh, self.site.options.max_group_bytes)
    }

    /// Answers everything that waits with an error.
    pub(crate) fn refuse_all(&self, error: &Error) {
        let waiting = std::mem::take(&mut lock(&self.queue).waiting);
        for one in waiting {
            // Nobody listens where the future was dropped.
            drop(one.reply.send(Err(error.clone())));
        }
    }

    /// Takes note that nothing may be acknowledged any more.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
        self.refuse_all(&Error::Failed);
    }
}

/// Who leads. Dropped before it was run (the future that handed it over was dropped) or after a
/// bounded number of groups, it asks another waiter to lead.
struct Lead {
    inner: Arc<Inner>,
    started: bool,
    idle: bool,
}

impl Lead {
    fn run(mut self) {
        self.started = true;
        self.idle = self.inner.flush();
        self.started = false;
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if self.started {
            // The job panicked midway: what it wrote is unknown.
            self.inner.fail();
        }
        if !self.idle {
            lock(&self.inner.queue).flushing = false;
            self.inner.leader_wanted.notify_waiters();
        }
    }
}
