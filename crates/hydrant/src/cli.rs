//! The command line: what there is to say, and what each command calls. Exit codes: 0 ok, 1 failed,
//! 2 bad usage or configuration.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::bench::{self, BenchArgs};
use crate::demo::{self, DemoArgs};
use crate::transform::{self, TransformCommand};
use crate::{checker, inspect, repair, run, telemetry};

/// Everything went well.
pub const OK: u8 = 0;
/// It was tried, and failed.
pub const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
pub const BAD_CONFIG: u8 = 2;

/// hydrant: a self-hosted Amazon Data Firehose.
#[derive(Parser, Debug)]
#[command(name = "hydrant", version, about, long_about = None, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Runs the service; SIGTERM and Ctrl-C drain what was read, then it ends.
    Run {
        /// A file, or a folder of which every *.yaml is loaded.
        #[arg(default_value = "hydrant.yaml")]
        config: PathBuf,
    },
    /// Reports every fault of a configuration, with file, line, path and remedy.
    Check {
        /// A file, or a folder of which every *.yaml is loaded.
        #[arg(default_value = "hydrant.yaml")]
        config: PathBuf,
        /// Also tries `data_dir` and every destination, with objects that it removes again, and
        /// says which permission is missing.
        #[arg(long)]
        live: bool,
    },
    /// Shows the whole product in one command, offline: events into an embedded stream, a
    /// WebAssembly transform, Parquet and GZIP out.
    Demo(DemoArgs),
    /// Measures the stages and whole ways on this machine, as CPU seconds per GB of records.
    Bench(BenchArgs),
    /// Makes, builds, tries and tests transforms.
    #[command(subcommand)]
    Transform(TransformCommand),
    /// Looks into a durable log: the directory of a stream, or of the state store.
    #[command(subcommand)]
    Log(LogCommand),
}

#[derive(Subcommand, Debug)]
enum LogCommand {
    /// Checks every frame; exit code 1 where acknowledged data is damaged. Changes nothing.
    Verify {
        /// Directory of the log, or one above several (`data_dir`).
        dir: PathBuf,
    },
    /// Prints every frame as a line of JSON. Changes nothing.
    Dump {
        /// Directory of the log.
        dir: PathBuf,
        /// Prints each record too, its data as base64.
        #[arg(long)]
        records: bool,
    },
    /// Says what opening a damaged log would cost, and with `--apply` makes it open again. Damaged
    /// files are kept beside it, in `LOG.quarantine`. Exit code 1 while the log is damaged.
    Repair {
        /// Directory of the log; hydrant must not be running on it.
        dir: PathBuf,
        /// Does it.
        #[arg(long)]
        apply: bool,
    },
}

/// Runs the command line and gives the process's exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::init();
    let code = match cli.command {
        Command::Run { config } => run::main(&config),
        Command::Check { config, live } => checker::main(&config, live),
        Command::Demo(args) => finish(demo::main(&args)),
        Command::Bench(args) => bench::main(&args),
        Command::Transform(command) => transform::main(&command),
        Command::Log(LogCommand::Verify { dir }) => inspect::verify(&dir),
        Command::Log(LogCommand::Dump { dir, records }) => finish(inspect::dump(&dir, records)),
        Command::Log(LogCommand::Repair { dir, apply }) => repair::main(&dir, apply),
    };
    ExitCode::from(code)
}

/// The exit code of a result; an error becomes one line on stderr.
pub(crate) fn finish(done: anyhow::Result<()>) -> u8 {
    match done {
        Ok(()) => OK,
        Err(error) => {
            say(&format!("hydrant: {error:#}"));
            FAILED
        }
    }
}

/// Writes a line to stderr; a closed stderr is no reason to fail.
pub(crate) fn say(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}
