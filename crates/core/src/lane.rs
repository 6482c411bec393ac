//! A lane: one ordered sequence that one worker owns at a time.

use std::fmt;
use std::sync::Arc;

/// The name of a lane inside its source: a shard id, a partition number, a file's id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(Arc<str>);

impl Lane {
    /// Names a lane.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lane({})", self.0)
    }
}

/// What a position is stored under: the delivery stream, the identity of the source stream (a
/// stream that was deleted and made again is another one), and the lane.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneKey {
    /// The delivery stream's name.
    pub delivery_stream: Arc<str>,
    /// The identity of the source stream, unique over deletion and re-creation.
    pub source: Arc<str>,
    /// The lane in that source.
    pub lane: Lane,
}

impl fmt::Display for LaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.delivery_stream, self.source, self.lane)
    }
}
