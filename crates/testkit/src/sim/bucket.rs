//! A simulated bucket: the server's side of conditional puts and multipart uploads, and all that can
//! go wrong between it and who asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hydrant_core::clock::Clock as _;
use hydrant_core::rng::Rng as _;
use hydrant_core::stage::ObjectMeta;

use super::world::{World, lock};

/// Longest that a request which lands late takes, in milliseconds.
pub const LATE_MS: u64 = 8000;
/// After so long without an answer whoever asked gives the request up.
const TIMEOUT: Duration = Duration::from_secs(2);

/// An object that is visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name and metadata.
    pub meta: ObjectMeta,
    /// Its bytes.
    pub bytes: Bytes,
}

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// 503, not applied.
    SlowDown,
    /// 500, not applied.
    Internal,
    /// 403, not applied.
    Forbidden,
    /// 409, not applied: another request for the name was under way, as the server has it.
    Conflict,
    /// Applied, and the answer is lost.
    LostAnswer,
    /// Applied after whoever asked has given up.
    Late,
}

/// A request.
#[derive(Clone, Debug)]
pub enum Request {
    /// Makes an object, with `condition` only where the name is free.
    Put {
        /// The object.
        object: Object,
        /// `If-None-Match: *`.
        condition: bool,
    },
    /// Asks what is under a name.
    Head(String),
    /// Begins a multipart upload.
    Begin(ObjectMeta),
    /// A part of one.
    Part(u64, u32, Bytes),
    /// Makes the object of one, where the name is free.
    Complete(u64),
    /// Gives one up.
    Abort(u64),
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Done.
    Done,
    /// What is under the name.
    Found(Option<Object>),
    /// A multipart upload of this number begins.
    Begun(u64),
    /// 412.
    Exists,
    /// 409.
    Conflict,
    /// The multipart upload is not there.
    NoUpload,
    /// Refused, for now.
    Refused(Wrong),
    /// None came.
    Nothing,
}

/// Called with each object that becomes visible.
pub type OnObject = Arc<dyn Fn(&Object) + Send + Sync>;

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
    /// Multipart uploads by number.
    uploads: BTreeMap<u64, (ObjectMeta, BTreeMap<u32, Bytes>)>,
    next_upload: u64,
    overwritten: Vec<String>,
    mismatched: Vec<String>,
    percent: u64,
    wrongs: Vec<Wrong>,
    stalled: bool,
}

/// The server. Clones are the same one.
#[derive(Clone)]
pub struct Bucket {
    pub(super) world: World,
    state: Arc<Mutex<State>>,
    on_object: OnObject,
    slow_ms: u64,
}

impl Bucket {
    /// An empty bucket, whose requests take up to so long each way.
    pub fn new(world: &World, slow_ms: u64, on_object: OnObject) -> Self {
        Self {
            world: world.clone(),
            state: Arc::default(),
            on_object,
            slow_ms,
        }
    }

    /// From now on this percentage of requests goes wrong, in one of these ways.
    pub fn set_faults(&self, percent: u64, wrongs: &[Wrong]) {
        let mut state = lock(&self.state);
        (state.percent, state.wrongs) = (percent, wrongs.to_vec());
    }

    /// From now on nothing is answered, or again.
    pub fn stall(&self, stalled: bool) {
        lock(&self.state).stalled = stalled;
    }

    /// Everything that is visible, by key.
    pub fn objects(&self) -> BTreeMap<String, Object> {
        lock(&self.state).objects.clone()
    }

    /// Names that were given other content.
    pub fn overwritten(&self) -> Vec<String> {
        lock(&self.state).overwritten.clone()
    }

    /// Names under which whoever asked found other content than its own.
    pub fn mismatched(&self) -> Vec<String> {
        lock(&self.state).mismatched.clone()
    }

    pub(super) fn note_mismatch(&self, key: &str) {
        self.world.trace.note(format_args!("mismatch: {key}"));
        lock(&self.state).mismatched.push(key.to_owned());
    }

    /// Sends a request and waits for its answer.
    pub async fn ask(&self, request: Request) -> Answer {
        let world = &self.world;
        world.random_pause(self.slow_ms).await;
        while lock(&self.state).stalled {
            world.sleep(Duration::from_millis(200)).await;
        }
        if world.is_halted() {
            return std::future::pending().await;
        }
        let wrong = self.throw(&request);
        if !world.step() {
            // Whoever asked is gone; the request is on its way or not.
            if world.rng.chance(50) {
                self.apply(request);
            }
            return std::future::pending().await;
        }
        match wrong {
            Some(Wrong::LostAnswer) => {
                self.apply(request);
                world.sleep(TIMEOUT).await;
                Answer::Nothing
            }
            Some(Wrong::Late) => {
                let (bucket, later) = (self.clone(), world.random_pause(LATE_MS));
                world.start(async move {
                    later.await;
                    bucket.apply(request);
                });
                world.sleep(TIMEOUT).await;
                Answer::Nothing
            }
            Some(Wrong::Conflict) => Answer::Conflict,
            Some(refused) => Answer::Refused(refused),
            None => {
                let answer = self.apply(request);
                world.random_pause(self.slow_ms).await;
                answer
            }
        }
    }

    /// What goes wrong with this request, if anything does.
    fn throw(&self, request: &Request) -> Option<Wrong> {
        let state = lock(&self.state);
        let rng = &self.world.rng;
        if state.wrongs.is_empty() || !rng.chance(state.percent) {
            return None;
        }
        let at = usize::try_from(rng.below(state.wrongs.len() as u64)).unwrap_or(0);
        let wrong = state.wrongs[at];
        let writes = matches!(request, Request::Put { .. } | Request::Complete(_));
        if wrong == Wrong::Conflict && !writes {
            return None;
        }
        self.world.trace.fired(match wrong {
            Wrong::SlowDown => "sink 503",
            Wrong::Internal => "sink 500",
            Wrong::Forbidden => "sink 403",
            Wrong::Conflict => "sink 409",
            Wrong::LostAnswer => "sink answer lost",
            Wrong::Late => "sink applied late",
        });
        Some(wrong)
    }

    fn apply(&self, request: Request) -> Answer {
        match request {
            Request::Put { object, condition } => self.create(object, condition),
            Request::Head(key) => Answer::Found(lock(&self.state).objects.get(&key).cloned()),
            Request::Begin(meta) => {
                let mut state = lock(&self.state);
                state.next_upload += 1;
                let number = state.next_upload;
                state.uploads.insert(number, (meta, BTreeMap::new()));
                Answer::Begun(number)
            }
            Request::Part(upload, number, bytes) => {
                match lock(&self.state).uploads.get_mut(&upload) {
                    None => Answer::NoUpload,
                    Some((_, parts)) => {
                        parts.insert(number, bytes);
                        Answer::Done
                    }
                }
            }
            Request::Complete(upload) => {
                let taken = lock(&self.state).uploads.remove(&upload);
                let Some((meta, parts)) = taken else {
                    return Answer::NoUpload;
                };
                let mut bytes = BytesMut::new();
                for part in parts.values() {
                    bytes.extend_from_slice(part);
                }
                let bytes = bytes.freeze();
                self.create(Object { meta, bytes }, true)
            }
            Request::Abort(upload) => match lock(&self.state).uploads.remove(&upload) {
                None => Answer::NoUpload,
                Some(_) => Answer::Done,
            },
        }
    }

    fn create(&self, object: Object, condition: bool) -> Answer {
        let mut state = lock(&self.state);
        let key = object.meta.key.clone();
        self.world.trace.note(format_args!(
            "object: {key} {:08x}",
            crc32fast::hash(&object.bytes)
        ));
        if let Some(found) = state.objects.get(&key) {
            if condition {
                return Answer::Exists;
            }
            if *found != object {
                state.overwritten.push(key.clone());
            }
            state.objects.insert(key, object);
            return Answer::Done;
        }
        state.objects.insert(key, object.clone());
        drop(state);
        (self.on_object)(&object);
        Answer::Done
    }
}
