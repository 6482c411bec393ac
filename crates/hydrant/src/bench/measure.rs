//! What is read from the system: CPU time of this thread and of a child, and the most memory that a
//! process has had. And what several rounds of the same say together.

use std::time::Duration;

use anyhow::{Context as _, bail};

/// Best and median of a sound series differ by less (performance reference, section 6).
const NOISE: f64 = 1.15;

/// The most memory of this process is counted anew from now on. Where the system does not let it,
/// stages show the most of all before them too.
pub(super) fn forget_peak() {
    // Refused on some hardened systems.
    drop(std::fs::write("/proc/self/clear_refs", "5"));
}

/// The most memory that a process has had, bytes; `self` for this one.
pub(super) fn peak_rss(process: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.context("the system does not say how much memory a process has had")? * 1024)
}

/// The CPU time of a process, in user and kernel mode, all of its threads, also those that ended.
pub(super) fn cpu_of(pid: u32) -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = ticks(&text).context("the system does not say how much CPU a process took")?;
    let millis = ticks * 1000 / rustix::param::clock_ticks_per_second().max(1);
    Ok(Duration::from_millis(millis))
}

/// Fields 14 and 15 (`proc_pid_stat(5)`): the name before them may hold spaces and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let (user, system) = (fields.next()?, fields.next()?);
    Some(user.parse::<u64>().ok()? + system.parse::<u64>().ok()?)
}

/// What the same cost in each round.
#[derive(Clone, Debug, Default)]
pub(super) struct Series(Vec<f64>);

impl Series {
    /// Adds CPU time for so many bytes.
    pub(super) fn add(&mut self, cpu: Duration, bytes: u64) -> anyhow::Result<()> {
        if bytes == 0 {
            bail!("nothing was measured")
        }
        self.0.push(cpu.as_secs_f64() / gigabytes(bytes));
        Ok(())
    }

    pub(super) fn best(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(super) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        sorted.get(middle).copied().unwrap_or(f64::INFINITY)
    }

    /// Whether the rounds say different things.
    pub(super) fn is_noisy(&self) -> bool {
        self.median() > self.best() * NOISE
    }
}

#[expect(clippy::cast_precision_loss, reason = "good to 15 digits")]
pub(super) fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Series, peak_rss, ticks};

    #[test]
    fn ticks_stand_behind_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 5 0 1 1 1";
        assert_eq!(ticks(stat), Some(200));
        assert_eq!(ticks("7 (a) S"), None);
    }

    #[test]
    fn best_median_and_noise() {
        let mut series = Series::default();
        for millis in [10, 30, 11, 10, 12] {
            let cpu = Duration::from_millis(millis);
            series.add(cpu, 1_000_000).unwrap();
        }
        assert!((series.best() - 10.0).abs() < 1e-9 && (series.median() - 11.0).abs() < 1e-9);
        assert!(!series.is_noisy());
        series.add(Duration::from_millis(40), 1_000_000).unwrap();
        series.add(Duration::from_millis(40), 1_000_000).unwrap();
        assert!(series.is_noisy());
        assert!(series.add(Duration::ZERO, 0).is_err());
    }

    #[test]
    fn this_process_has_had_memory() {
        assert!(peak_rss("self").unwrap() > 1 << 20);
    }
}
