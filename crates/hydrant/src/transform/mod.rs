//! `hydrant transform`: what whoever writes a transform does with it, from an empty folder to a
//! module that can be trusted.

mod project;

mod module;

mod records;

mod verdict;

mod inspect;

mod run;

mod bench;

mod report;

mod cases;

mod test;

mod junit;

mod template;

mod new;

mod build;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::{BAD_CONFIG, say};

/// The commands.
#[derive(Subcommand, Debug)]
pub(crate) enum TransformCommand {
    /// Makes a new transform: a folder with sources, tests and all else that it needs.
    New(NewArgs),
    /// Builds a transform's module with the tools of its language.
    Build(BuildArgs),
    /// Says what a module is: its contract, imports, size, digest, description and the schema of
    /// its configuration.
    Inspect {
        /// The module.
        module: PathBuf,
        /// Prints one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Runs a module on records of a file, and shows what becomes of each.
    Run(RunArgs),
    /// Measures what a module costs a record, on the records of a file.
    Bench(BenchArgs),
    /// Runs the cases of a transform, `tests/*.yaml` in its folder: each record together with the
    /// others, alone, and twice. Exit code 1 where one fails.
    Test(TestArgs),
}

/// What `new` takes.
#[derive(Args, Debug)]
pub(crate) struct NewArgs {
    /// The language.
    #[arg(long, value_enum)]
    pub(crate) lang: project::Language,
    /// The folder; its last part is the transform's name.
    #[arg(value_name = "NAME")]
    pub(crate) folder: PathBuf,
}

/// What `build` takes.
#[derive(Args, Debug)]
pub(crate) struct BuildArgs {
    /// The folder of the transform, with `transform.yaml`.
    #[arg(default_value = ".", conflicts_with = "lambda")]
    pub(crate) folder: PathBuf,
    /// Builds a Firehose transformation that was written for AWS Lambda: a .js, .mjs, .cjs, .ts or .py
    /// file with its handler, unchanged.
    #[arg(long, value_name = "HANDLER")]
    pub(crate) lambda: Option<PathBuf>,
    /// Where the module goes; else where `transform.yaml` says, or into HANDLER.wasm here.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Which module, and what it is run with.
#[derive(Args, Debug, Clone)]
pub(crate) struct ModuleArgs {
    /// The module, or the folder of a transform (its `transform.yaml` names the module).
    pub(crate) module: PathBuf,
    /// Its configuration: a JSON or YAML file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Memory that a call may use, as in the configuration.
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Time that a call may take, as in the configuration.
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<String>,
    /// Gives a component an empty WASI, as in the configuration.
    #[arg(long)]
    pub(crate) wasi: bool,
    /// How long instances live, as in the configuration.
    #[arg(long, value_enum)]
    pub(crate) instances: Option<project::InstancesWord>,
}

/// What `run` takes.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) module: ModuleArgs,
    /// The records: a file with one on each line (`-` is standard input); empty lines are skipped.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "from_error_object"
    )]
    pub(crate) input: Option<PathBuf>,
    /// The records of an error object (its `rawData`), to repeat their failures here.
    #[arg(long, value_name = "FILE", conflicts_with = "input")]
    pub(crate) from_error_object: Option<PathBuf>,
    /// Prints a JSON object for each record, and one of totals.
    #[arg(long)]
    pub(crate) json: bool,
    /// Shows so many records; totals are of all.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) show: usize,
}

/// What `bench` takes.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) module: ModuleArgs,
    /// The records: a file with one on each line (`-` is standard input); empty lines are skipped.
    #[arg(long, value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// Prints one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `test` takes.
#[derive(Args, Debug)]
pub(crate) struct TestArgs {
    /// The folder of the transform, with `transform.yaml`.
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Takes another module than `transform.yaml` names.
    #[arg(long, value_name = "FILE")]
    pub(crate) module: Option<PathBuf>,
    /// Writes what cases with an `expected_file` give into that file, instead of comparing.
    #[arg(long)]
    pub(crate) update: bool,
    /// Also writes the results as `JUnit` XML.
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
}

/// Runs a command; gives the exit code.
pub(crate) fn main(command: &TransformCommand) -> u8 {
    let done = match command {
        TransformCommand::New(args) => new::main(args),
        TransformCommand::Build(args) => build::main(args),
        TransformCommand::Inspect { module, json } => inspect::main(module, *json),
        TransformCommand::Run(args) => run::main(args),
        TransformCommand::Bench(args) => bench::main(args),
        TransformCommand::Test(args) => test::main(args),
    };
    done.unwrap_or_else(|error| {
        say(&format!("hydrant: {error:#}"));
        if error.is::<Usage>() {
            BAD_CONFIG
        } else {
            crate::cli::FAILED
        }
    })
}

/// Something on the command line, or in a file that it names, is wrong.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An error of usage.
pub(crate) fn usage(what: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Usage(what.into()))
}
