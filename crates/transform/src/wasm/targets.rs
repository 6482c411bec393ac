//! Targets: which index, table or topic an output goes to, where its destination has several.

/// Longest target: twice what an index of OpenSearch may be called, and enough for a table with
/// its namespace.
const TARGET_MAX_BYTES: usize = 512;

/// Whether the destination routes by targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Targets {
    /// It has one place for all: a record that names a target fails, rather than that outputs of
    /// several targets end up mixed in one object.
    #[default]
    Refused,
    /// It routes by them.
    Passed,
}

impl Targets {
    /// What is wrong with a target here: code and message.
    pub(super) fn fault(self, target: &str) -> Option<(&'static str, String)> {
        if target.is_empty() || target.len() > TARGET_MAX_BYTES {
            let bytes = target.len();
            return Some((
                "Transform.InvalidTarget",
                format!(
                    "an output names a target of {bytes} bytes, allowed are 1 to {TARGET_MAX_BYTES}"
                ),
            ));
        }
        (self == Self::Refused).then(|| {
            (
                "Transform.TargetNotRouted",
                format!(
                    "an output names the target `{target}`, and this destination has no targets: \
                     leave it out, or give it as a partition key"
                ),
            )
        })
    }
}
