//! The project's own commands: `cargo xtask test`, `cargo xtask sim`, `cargo xtask fuzz`, `cargo xtask
//! bench`, and others.
//!
//! One file per command; `cache`, `services` and `process` are what they share. Nothing here is
//! shipped.

mod bench;
mod cache;
mod deny;
mod fuzz;
mod prerequisites;
mod process;
mod services;
mod sim;
mod test;

#[cfg(test)]
mod house;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND

  test [--only NAME]...   runs the tests; NAME is `unit` (cargo test), `e2e`, or one end-to-end
                          suite (see `cargo xtask test --list`)
  chaos                   the suite `chaos` alone; HYDRANT_CHAOS_KILLS=N is its number of lives,
                          HYDRANT_E2E_SEED=N repeats one
  sim [--seeds N] [--seed S] [--scenario NAME] [--minutes M] [--planted]
                          simulates the whole pipeline by seed, or looks for the planted faults; with
                          --seed alone it shows one run (--trace: all of its events)
  crashpoints             crashes small runs at every step of a disk or store
  bench [--update]        measures a release build and compares it with the last release's ratios in
                          the repository, or puts its own there
  deny [--advisories]     checks the dependencies by cargo-deny and .deny.toml: licences, sources, one
                          TLS, one version of each; or for known vulnerabilities and yanked crates,
                          which needs the network: the database is fetched from GitHub
  fuzz TARGET [--seconds N]
                          looks for inputs that break a target of tests/fuzz, for 60 s where not said
                          otherwise; with a file instead, runs that input again; `cargo xtask fuzz
                          --list` names the targets

What these install goes to $HYDRANT_CACHE, by default $XDG_CACHE_HOME/hydrant or ~/.cache/hydrant.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", arguments.as_slice()),
    };
    let done = match command {
        "test" => test::run(rest),
        "chaos" if rest.is_empty() => test::run(&["--only", "chaos"].map(str::to_owned)),
        "sim" => sim::run(rest),
        "crashpoints" if rest.is_empty() => sim::run(&["--crashpoints".to_owned()]),
        "bench" => bench::run(rest),
        "deny" => deny::run(rest),
        "fuzz" => fuzz::run(rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
