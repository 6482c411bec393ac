//! The body of the fuzz target `config`: run over a checked-in corpus as a test, and by
//! `cargo xtask fuzz`.

use std::path::PathBuf;

use super::context::Context;
use super::fault::Fault;
use super::load::understand;
use super::node::parse;
use super::types::Config;

/// What every variable holds.
const SECRET: &str = "Kq7:#-{x";

/// Reads a file of configuration. It is a configuration or has faults, each with a line of the file
/// and words, and no value of a variable among them.
///
/// # Panics
/// Where any of this is not so.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (config, faults) = read(text);
    assert!(config.is_some() || !faults.is_empty() || text.trim().is_empty());
    let lines = text.split(['\n', '\r']).count();
    for fault in &faults {
        assert!(!fault.message.is_empty(), "{fault:?}");
        assert!(fault.line <= lines + 1, "{fault:?} of {lines} lines");
        let hidden = !format!("{fault:?}").contains(SECRET);
        assert!(hidden || text.contains(SECRET), "{fault:?}");
    }
    let again = read(text);
    assert_eq!(format!("{faults:?}"), format!("{:?}", again.1));
    assert_eq!(format!("{config:?}"), format!("{:?}", again.0));
}

fn read(text: &str) -> (Option<Config>, Vec<Fault>) {
    let mut cx = Context::new(Box::new(|name| {
        (!name.starts_with('N')).then(|| SECRET.to_owned())
    }));
    cx.files.push(PathBuf::from("/conf/hydrant.yaml"));
    let roots = parse(text, 0, &mut cx).into_iter().collect();
    let config = understand(roots, &mut cx);
    (config, cx.faults)
}

#[cfg(test)]
mod tests {
    use hydrant_testkit::corpus;

    #[test]
    fn the_corpus_of_configurations() {
        let odd = "a: &a [1, *a]\n<<: !!str x\nstreams: {s: {shards: -1, retention: 3 parsecs}, s: }\n\
                   memory: ${X}\ndata_dir: ${NO:-d}\napi: {listen: ${NO}, tls: ${X:?y}}\n";
        let seeds = [
            ("odd", odd),
            (
                "quickstart",
                include_str!("../../../../deploy/examples/quickstart.yaml"),
            ),
            (
                "lake",
                include_str!("../../../../deploy/examples/lake.yaml"),
            ),
            (
                "kinesis",
                include_str!("../../../../deploy/examples/kinesis.yaml"),
            ),
        ];
        let seeds = seeds.map(|(name, text)| (name, text.as_bytes().to_vec()));
        corpus::run("config", &seeds, super::config);
    }
}
