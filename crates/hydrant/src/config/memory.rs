//! How much memory there is for records in flight, where nothing is configured.

use std::fs;

use hydrant_core::units::ByteSize;

/// The least that is taken by default.
const LEAST: ByteSize = ByteSize::mib(256);

/// Half of the memory of the control group, or else of the machine; at least 256 MiB.
pub(super) fn default() -> ByteSize {
    let read = |path: &str| fs::read_to_string(path).ok();
    let group = read("/proc/self/cgroup")
        .and_then(|text| group_of(&text).map(str::to_owned))
        .unwrap_or_default();
    let limits = [
        read(&format!("/sys/fs/cgroup{group}/memory.max")),
        // In a container the group's own folder is the root.
        read("/sys/fs/cgroup/memory.max"),
        read("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
    ];
    let limits = limits
        .iter()
        .flatten()
        .filter_map(|text| text.trim().parse::<u64>().ok());
    let machine = read("/proc/meminfo").and_then(|text| total_of(&text));
    half_of(limits.chain(machine).min())
}

fn half_of(limit: Option<u64>) -> ByteSize {
    ByteSize(limit.unwrap_or(0) / 2).max(LEAST)
}

/// The path of the unified control group in `/proc/self/cgroup`.
fn group_of(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total_of(text: &str) -> Option<u64> {
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    total
        .trim()
        .strip_suffix(" kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use hydrant_core::units::ByteSize;

    use super::{default, group_of, half_of, total_of};

    #[test]
    fn half_of_what_there_is_but_enough() {
        assert_eq!(half_of(Some(8 << 30)), ByteSize(4 << 30));
        assert_eq!(half_of(Some(100 << 20)), ByteSize::mib(256));
        assert_eq!(half_of(None), ByteSize::mib(256));
        assert!(default() >= ByteSize::mib(256));
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(
            group_of("0::/system.slice/hydrant.service\n"),
            Some("/system.slice/hydrant.service")
        );
        assert_eq!(group_of("4:memory:/x\n"), None);
        assert_eq!(
            total_of("MemTotal:       16384 kB\nMemFree: 1 kB\n"),
            Some(16_777_216)
        );
        assert_eq!(total_of("MemFree: 1 kB\n"), None);
    }
}
