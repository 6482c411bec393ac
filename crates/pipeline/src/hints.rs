//! When an open range is sealed.

use std::time::Duration;

/// How many times its size hint a range may take as input, for transforms that drop nearly all
/// (reliability design, section 11).
const INPUT_FACTOR: u64 = 8;
/// Most input bytes of one range (reliability design, section 11).
const INPUT_MAX_BYTES: u64 = 1 << 30;

/// Buffering hints: a range is sealed by whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hints {
    /// Bytes after the transform and before compression. Decides the output: part of the version.
    pub size_bytes: u64,
    /// Time from the first record read. Not part of the version: the cut is in the intent.
    pub interval: Duration,
}

impl Hints {
    /// Input bytes at which a range is sealed whatever came out of it.
    pub fn input_bytes(&self) -> u64 {
        self.size_bytes
            .saturating_mul(INPUT_FACTOR)
            .min(INPUT_MAX_BYTES.max(self.size_bytes))
    }
}

/// Why a range was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealReason {
    /// Its outputs reached the size hint.
    Size,
    /// The interval since its first record is over.
    Interval,
    /// Its input reached [`Hints::input_bytes`].
    Input,
    /// The list of decisions in its intent is full.
    Decisions,
    /// Memory is short.
    Pressure,
    /// The lane has ended.
    LaneEnd,
    /// The service is stopping, or the stream is paused.
    Stop,
    /// Another version is in force: the records that follow are its.
    Replaced,
    /// A processor cannot go on with the records that follow.
    Blocked,
    /// It is redone, and the cut of its intent is reached.
    Redo,
    /// The source has lost records: that is reported at once.
    Loss,
}

impl SealReason {
    /// A word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Interval => "interval",
            Self::Input => "input",
            Self::Decisions => "decisions",
            Self::Pressure => "pressure",
            Self::Replaced => "replaced",
            Self::Blocked => "blocked",
            Self::LaneEnd => "lane_end",
            Self::Stop => "stop",
            Self::Redo => "redo",
            Self::Loss => "loss",
        }
    }
}
