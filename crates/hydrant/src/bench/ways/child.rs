//! A `hydrant run` of this very program, in a folder of its own, on loopback ports that the system
//! chooses; ended with the measurement, whatever happens.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hydrant_core::clock::Clock as _;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::Spent;
use crate::bench::measure::{cpu_of, peak_rss};
use crate::run::ENDS_WITH_PARENT;
use crate::runtime::RealClock;

/// How often the child's log is looked at for its start, and the child for its end.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often the child is asked how far it is: answering costs it CPU time, too.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// It starts within a second, and drains within 25.
const PATIENCE: Duration = Duration::from_secs(40);
/// Lines of its log that an error shows.
const SHOWN_LINES: usize = 5;

pub(super) struct Child {
    process: std::process::Child,
    log: PathBuf,
    clock: RealClock,
    pub(super) api: SocketAddr,
    operations: SocketAddr,
}

impl Child {
    /// Starts it and waits until it is ready.
    pub(super) fn start(dir: &Path, config: &str) -> anyhow::Result<Self> {
        std::fs::write(dir.join("hydrant.yaml"), config)?;
        let log = dir.join("log");
        let process = Command::new(std::env::current_exe()?)
            .args(["run", "hydrant.yaml"])
            .current_dir(dir)
            .env(ENDS_WITH_PARENT, "1")
            .env("HYDRANT_LOG", "info")
            .env("HYDRANT_LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("this program cannot be started again")?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut child = Self {
            process,
            log,
            clock: RealClock::default(),
            api: nowhere,
            operations: nowhere,
        };
        let ready = child.until("start", |child| {
            if child.process.try_wait()?.is_some() {
                bail!("it ended at once{}", child.last_words());
            }
            Ok(child.addresses())
        });
        (child.api, child.operations) = ready?;
        Ok(child)
    }

    /// Waits until it has read so many records.
    pub(super) fn until_read(&self, records: u64) -> anyhow::Result<()> {
        let (mut before, mut moved) = (0, self.clock.monotonic());
        loop {
            let read = self.read()?;
            if read >= records {
                return Ok(());
            }
            if read > before {
                (before, moved) = (read, self.clock.monotonic());
            } else if self.clock.monotonic().saturating_sub(moved) > PATIENCE {
                bail!(
                    "it stands still at {read} of {records} records{}",
                    self.last_words()
                );
            }
            sleep(ASK_EVERY);
        }
    }

    /// Asks it to end, waits until all that it read is delivered, and says what it took.
    pub(super) fn end(mut self) -> anyhow::Result<Spent> {
        let id = self.process.id().to_string();
        let mut peak = peak_rss(&id)?;
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::TERM)?;
        self.until("end", |_| {
            // What is drained counts too; one that has ended has none.
            peak = peak.max(peak_rss(&id).unwrap_or(0));
            // It stays to be looked at until it is waited for.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            Ok(waitid(WaitId::Pid(pid), options)?.map(drop))
        })?;
        let cpu = cpu_of(self.process.id())?;
        let status = self.process.wait()?;
        if !status.success() {
            bail!("it ended with {status}{}", self.last_words());
        }
        Ok(Spent {
            cpu,
            peak_rss: peak,
            bytes_out: 0,
        })
    }

    fn until<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Self) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let began = self.clock.monotonic();
        loop {
            if let Some(found) = look(self)? {
                return Ok(found);
            }
            if self.clock.monotonic().saturating_sub(began) > PATIENCE {
                bail!("it does not {what}{}", self.last_words());
            }
            sleep(LOOK_EVERY);
        }
    }

    /// Where it listens, once its log says so.
    fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        let log = std::fs::read_to_string(&self.log).ok()?;
        let ready = log.lines().find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            (line["fields"]["message"] == "hydrant is ready").then_some(line)
        })?;
        let address = |name: &str| ready["fields"][name].as_str()?.parse().ok();
        Some((address("api")?, address("operations")?))
    }

    fn read(&self) -> anyhow::Result<u64> {
        let metrics = get(self.operations, "/metrics")?;
        let number = |name: &str| -> anyhow::Result<u64> {
            let labelled = format!("{name}{{");
            let line = metrics.lines().find(|line| line.starts_with(&labelled));
            let number = line.and_then(|line| line.rsplit(' ').next());
            let number = number.with_context(|| format!("there is no metric {name}"))?;
            Ok(number.parse()?)
        };
        Ok(number("hydrant_records_read_total")? + number("hydrant_records_in_flight")?)
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.len().saturating_sub(SHOWN_LINES);
        let shown = lines[last..].iter().map(|line| format!("\n  {line}"));
        shown.collect()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Fails where it has ended, as it should have.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
