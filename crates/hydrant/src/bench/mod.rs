//! `hydrant bench`: what stages and whole ways cost on this machine, as CPU seconds per GB of
//! records, each beside its budget and a reference loop of the same rounds. CPU time and not wall
//! clock, so that neither cores nor disks decide.

mod load;

mod measure;

mod verify;

mod stages;

mod ways;

mod plan;

pub(crate) mod guest;

mod report;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use self::load::Load;
use self::measure::{Series, forget_peak, peak_rss};
use self::plan::{Item, Kind};
use self::report::{References, Row};
use self::stages::{Run, Stage, reference};
use self::ways::{Spent, Supply, Way};
use crate::cli::{BAD_CONFIG, finish, say};

/// Arguments of `hydrant bench`.
#[derive(clap::Args, Debug)]
pub(crate) struct BenchArgs {
    /// What to measure, all without a name; an unknown name lists them. `transform`: guests beside the
    /// same functions in the host.
    stages: Vec<String>,
    /// Fewer records and rounds: less than 40 seconds.
    #[arg(long)]
    quick: bool,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
    /// Where files go while it measures: the disk that is written to.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
}

/// How much is measured how often.
struct Effort {
    bytes: usize,
    rounds: usize,
    /// Of the whole ways, and how often all records are sent: n.
    way_rounds: usize,
    way_times: u64,
}

const FULL: Effort = Effort {
    bytes: 40_000_000,
    rounds: 5,
    way_rounds: 3,
    way_times: 4,
};
const QUICK: Effort = Effort {
    bytes: 12_000_000,
    rounds: 3,
    way_rounds: 1,
    way_times: 8,
};

/// The larger amount, in smaller ones.
const LARGER: u64 = 3;

/// Measures and prints; gives the exit code.
pub(crate) fn main(args: &BenchArgs) -> u8 {
    match Choice::of(&args.stages) {
        Ok(choice) => finish(bench(args, &choice)),
        Err(fault) => {
            say(&format!("hydrant: {fault}"));
            BAD_CONFIG
        }
    }
}

/// What is to be measured.
struct Choice {
    items: Vec<Item>,
    guests: bool,
}

impl Choice {
    fn of(names: &[String]) -> Result<Self, String> {
        let (guests, stages): (Vec<_>, Vec<_>) =
            names.iter().cloned().partition(|name| name == guest::NAME);
        let items = if stages.is_empty() && !guests.is_empty() {
            Vec::new()
        } else {
            plan::choose(&stages)?
        };
        Ok(Self {
            items,
            guests: names.is_empty() || !guests.is_empty(),
        })
    }
}

fn bench(args: &BenchArgs, choice: &Choice) -> anyhow::Result<()> {
    let items = &choice.items;
    let effort = if args.quick { &QUICK } else { &FULL };
    let load = Arc::new(Load::make(effort.bytes));
    if !args.json {
        writeln!(
            io::stdout(),
            "{} records of {} bytes; {} rounds of stages, {} of whole ways\n",
            load.records(),
            load.bytes() / load.records(),
            effort.rounds,
            effort.way_rounds,
        )?;
    }
    let folder = Folder::make(&args.dir)?;
    let mut references = References::default();
    let mut rows = stages(&load, items, effort.rounds, &folder.0, &mut references)?;
    rows.extend(whole_ways(
        &load,
        items,
        effort,
        &folder.0,
        &mut references,
    )?);
    let rests: Vec<Row> = items.iter().filter_map(|item| rest(item, &rows)).collect();
    rows.extend(rests);
    drop(folder);
    let guests = if choice.guests {
        guest::lines(&load, effort.rounds)?
    } else {
        Vec::new()
    };
    if args.json {
        report::print_json(&rows, &references, &guests)?;
        return Ok(());
    }
    if !rows.is_empty() {
        report::print_table(&rows, &references)?;
        writeln!(io::stdout())?;
    }
    guest::print_table(&guests)?;
    Ok(())
}

/// A folder that goes when the measurement ends.
struct Folder(PathBuf);

impl Folder {
    fn make(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(format!("hydrant-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path)
            .with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            say(&format!("hydrant: {}: {error}", self.0.display()));
        }
    }
}

impl References {
    fn round(&mut self, load: &Load) -> anyhow::Result<()> {
        let (copied, packed) = (reference::copy(load), reference::flate2(load));
        self.copy.add(copied.cpu, copied.bytes_in)?;
        self.flate2.add(packed.cpu, packed.bytes_in)?;
        self.flate2_in_out = in_out(packed.bytes_in, packed.bytes_out);
        Ok(())
    }

    fn crowded_round(&mut self, load: &Load) -> anyhow::Result<()> {
        let packed = reference::flate2_on_all_cores(load);
        self.crowded.add(packed.cpu, packed.bytes_in)
    }
}

/// A stage and what its rounds said.
struct Measured {
    name: &'static str,
    budget: f64,
    stage: Box<dyn Stage>,
    series: Series,
    last: Run,
    peak_rss: u64,
}

/// Checks all stages, then runs all of them once in each round.
fn stages(
    load: &Arc<Load>,
    items: &[Item],
    rounds: usize,
    folder: &Path,
    references: &mut References,
) -> anyhow::Result<Vec<Row>> {
    let mut all = Vec::new();
    for item in items {
        let Kind::Stage(make) = &item.kind else {
            continue;
        };
        let mut stage = make(load, &folder.join(item.name))?;
        stage.check().with_context(|| item.name.to_owned())?;
        all.push(Measured {
            name: item.name,
            budget: item.budget,
            stage,
            series: Series::default(),
            last: Run::default(),
            peak_rss: 0,
        });
    }
    for _ in 0..rounds {
        references.round(load)?;
        for one in &mut all {
            forget_peak();
            one.last = one.stage.run().with_context(|| one.name.to_owned())?;
            one.series.add(one.last.cpu, one.last.bytes_in)?;
            one.peak_rss = one.peak_rss.max(peak_rss("self")?);
        }
    }
    Ok(all
        .into_iter()
        .map(|one| Row {
            name: one.name,
            budget: one.budget,
            best: one.series.best(),
            median: one.series.median(),
            noisy: one.series.is_noisy(),
            in_out: in_out(one.last.bytes_in, one.last.bytes_out),
            peak_rss: one.peak_rss,
            crowded: false,
        })
        .collect())
}

/// Runs all ways once in each round.
fn whole_ways(
    load: &Arc<Load>,
    items: &[Item],
    effort: &Effort,
    folder: &Path,
    references: &mut References,
) -> anyhow::Result<Vec<Row>> {
    let ways: Vec<(&Item, &Way)> = items
        .iter()
        .filter_map(|item| match &item.kind {
            Kind::Way(way) => Some((item, way)),
            _ => None,
        })
        .collect();
    if ways.is_empty() {
        return Ok(Vec::new());
    }
    let supply = Supply::new(load);
    let mut spent: Vec<Vec<(Spent, Spent)>> = vec![Vec::new(); ways.len()];
    for _ in 0..effort.way_rounds {
        references.round(load)?;
        references.crowded_round(load)?;
        for ((item, way), spent) in ways.iter().zip(&mut spent) {
            let dir = folder.join(item.name);
            let run = |times| {
                let done = way.run(&supply, times, &dir);
                done.with_context(|| item.name.to_owned())
            };
            spent.push((run(effort.way_times)?, run(effort.way_times * LARGER)?));
        }
    }
    let bytes = load.bytes() as u64 * effort.way_times;
    let mut rows = Vec::new();
    for ((item, _), spent) in ways.into_iter().zip(spent) {
        let mut row = way_row(item, &spent, bytes)?;
        // One round says nothing about noise; the reference, which ran between them, does.
        row.noisy |= references.flate2.is_noisy();
        rows.push(row);
    }
    Ok(rows)
}

/// The row of a way of which `bytes`, and [`LARGER`] times as many, were sent.
fn way_row(item: &Item, spent: &[(Spent, Spent)], bytes: u64) -> anyhow::Result<Row> {
    let more = bytes * (LARGER - 1);
    let mut series = Series::default();
    for (less, larger) in spent {
        series.add(larger.cpu.saturating_sub(less.cpu), more)?;
    }
    // The best of each amount: the best difference would be that of the worst smaller one.
    let least = |cpu: fn(&(Spent, Spent)) -> Duration| spent.iter().map(cpu).min();
    let (less, larger) = (least(|one| one.0.cpu), least(|one| one.1.cpu));
    let mut best = Series::default();
    best.add(
        larger
            .unwrap_or_default()
            .saturating_sub(less.unwrap_or_default()),
        more,
    )?;
    let best = best.best();
    let out = spent.last().map_or(0, |(_, larger)| larger.bytes_out);
    Ok(Row {
        name: item.name,
        budget: item.budget,
        best,
        median: series.median().max(best),
        noisy: series.is_noisy(),
        in_out: in_out(bytes * LARGER, out),
        peak_rss: spent
            .iter()
            .map(|(_, larger)| larger.peak_rss)
            .max()
            .unwrap_or(0),
        crowded: true,
    })
}

/// What a way costs beyond its stages.
fn rest(item: &Item, rows: &[Row]) -> Option<Row> {
    let Kind::Rest { of, less } = &item.kind else {
        return None;
    };
    let row = |name: &str| rows.iter().find(|row| row.name == name);
    let whole = row(of)?;
    let (mut best, mut median, mut noisy) = (whole.best, whole.median, whole.noisy);
    for name in *less {
        let part = row(name)?;
        best -= part.best;
        median -= part.median;
        noisy |= part.noisy;
    }
    Some(Row {
        name: item.name,
        budget: item.budget,
        best: best.max(0.0),
        median: median.max(0.0),
        noisy,
        in_out: whole.in_out,
        peak_rss: whole.peak_rss,
        crowded: whole.crowded,
    })
}

/// 1 where nothing comes out.
#[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
fn in_out(bytes_in: u64, bytes_out: u64) -> f64 {
    if bytes_out == 0 {
        1.0
    } else {
        bytes_in as f64 / bytes_out as f64
    }
}
