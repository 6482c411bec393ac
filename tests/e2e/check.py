"""`hydrant check` reports every fault of a configuration with its file, line, path and remedy, and ends
with 2; a good configuration ends with 0."""

import subprocess

import harness

GOOD = """\
data_dir: ./data
streams:
  clicks: { shards: 2, retention: 24h }
delivery_streams:
  archive:
    source:
      kinesis: { stream: clicks, endpoint: embedded, start: trim_horizon }
    destination:
      directory: { path: ./archive, compression: gzip, buffering_hints: { size: 5MiB, interval: 10s } }
"""

# Name, what is changed in GOOD, and the faults: line, path, and a word of the remedy.
CASES = [
    (
        "an unknown field",
        [("retention: 24h", "retension: 24h")],
        [(3, "streams.clicks", "retention")],
    ),
    (
        "a size that is none",
        [("size: 5MiB", "size: 5 bananas")],
        [(9, "delivery_streams.archive.destination.directory.buffering_hints.size", "MiB")],
    ),
    (
        "a source that is none",
        [("kinesis: {", "kinesys: {")],
        [(7, "delivery_streams.archive.source", "kinesis")],
    ),
    (
        "a compression that is not known",
        [("compression: gzip", "compression: rar")],
        [(9, "delivery_streams.archive.destination.directory.compression", "gzip")],
    ),
    (
        "a module that is not there",
        [("    destination:", "    processors:\n      - wasm: { module: nowhere.wasm }\n    destination:")],
        [(9, "delivery_streams.archive.processors[0].wasm.module", "nowhere.wasm")],
    ),
    (
        "no authentication off loopback",
        [("data_dir:", "api: { listen: 0.0.0.0:4567, auth: none }\ndata_dir:")],
        [(1, "api.listen", "127.0.0.1")],
    ),
    (
        "a variable without a value",
        [("path: ./archive", 'path: "${HYDRANT_E2E_NOT_SET}"')],
        [(9, "delivery_streams.archive.destination.directory.path", "HYDRANT_E2E_NOT_SET")],
    ),
    (
        "several at once",
        [("shards: 2", "shards: 0"), ("size: 5MiB", "size: many"), ("data_dir:", "data_dri:")],
        [
            (1, "data_dri", "data_dir"),
            (3, "streams.clicks.shards", "1"),
            (9, "delivery_streams.archive.destination.directory.buffering_hints.size", "MiB"),
        ],
    ),
]


def run_check(folder, text):
    (folder / "hydrant.yaml").write_text(text)
    done = subprocess.run(
        [harness.BINARY, "check", "hydrant.yaml"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout.decode()


def test(folder):
    code, said = run_check(folder, GOOD)
    harness.check(code == 0, f"a good configuration ends with {code}: {said}")
    for name, changes, faults in CASES:
        text = GOOD
        for old, new in changes:
            harness.check(old in text, f"{name}: `{old}` is not in the text")
            text = text.replace(old, new)
        code, said = run_check(folder, text)
        harness.check(code == 2, f"{name}: ended with {code}: {said}")
        # The file is named in full.
        said = said.replace(f"{folder.resolve()}/", "")
        reported = sorted(line for line in said.splitlines() if line.startswith("hydrant.yaml:"))
        harness.check(len(reported) == len(faults), f"{name}: {len(faults)} faults wanted, got: {said}")
        for line, (number, path, remedy) in zip(reported, faults, strict=True):
            place = f"hydrant.yaml:{number}: {path}"
            harness.check(line.startswith(place), f"{name}: `{place}` does not begin: {line}")
            harness.check(remedy in line.removeprefix(place), f"{name}: `{remedy}` is not in: {line}")
    code, said = run_check(folder, "streams: [")
    harness.check(code == 2 and "hydrant.yaml:1" in said, f"text that is no YAML ended with {code}: {said}")


if __name__ == "__main__":
    harness.run("check", test)
