"""`hydrant bench --json` prints one object with what programs look for. A few cheap stages of a build
that is not optimised: nothing is said about how fast they are."""

import json
import math
import subprocess

import harness
from with_parent import end_with_parent

MEMBERS = {
    "name": str,
    "cpu_s_per_gb": float,
    "budget": float,
    "reference_cpu_s_per_gb": float,
    "ratio": float,
    "in_out": float,
    "peak_rss_bytes": int,
}
STAGES = ["log-append", "join", "put-log"]
GUESTS = ["native_ns", "fresh_ns", "reuse_ns", "fresh_ratio", "reuse_ratio"]


def bench(folder, *arguments):
    return hydrant("bench", "--dir", str(folder), *arguments)


def hydrant(*arguments):
    return subprocess.run(
        [harness.BINARY, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=100,
        check=False,
        preexec_fn=end_with_parent,
    )


def test(folder):
    done = bench(folder, *STAGES, "--quick", "--json")
    harness.check(done.returncode == 0, f"ended with {done.returncode}: {done.stderr.decode()}")
    stages = json.loads(done.stdout)["stages"]
    names = [stage["name"] for stage in stages]
    harness.check(names == STAGES, f"measured {names}")
    for stage in stages:
        for member, kind in MEMBERS.items():
            value = stage.get(member)
            harness.check(isinstance(value, kind), f"{stage['name']}: {member} is {value!r}")
            whole = kind is str or (math.isfinite(value) and value > 0)
            harness.check(whole, f"{stage['name']}: {member} is {value!r}")
        ratio = stage["cpu_s_per_gb"] / stage["reference_cpu_s_per_gb"]
        harness.check(math.isclose(ratio, stage["ratio"], rel_tol=0.05), f"{stage['name']}: ratio is {ratio}")
    harness.check(not list(folder.glob("hydrant-bench-*")), "its folder is left behind")
    guests(folder)
    done = bench(folder, "no-such-stage")
    harness.check(done.returncode == 2, f"an unknown stage ended with {done.returncode}")
    harness.check(b"put-log-gzip6-directory" in done.stderr, "it does not say what there is")


def guests(folder):
    """Guests beside the host, and a module of one's own."""
    done = bench(folder, "transform", "--quick", "--json")
    harness.check(done.returncode == 0, f"ended with {done.returncode}: {done.stderr.decode()}")
    shown = json.loads(done.stdout)
    harness.check(shown["stages"] == [], "stages are measured that nobody asked for")
    ways = [(line["work"], line["batch"]) for line in shown["transform"]]
    harness.check(ways == [(work, batch) for work in ("identity", "edit") for batch in (1, 100, 1000)], f"{ways}")
    for line in shown["transform"]:
        wrong = [name for name in GUESTS if not (math.isfinite(line[name]) and line[name] > 0)]
        harness.check(not wrong, f"{line}: {wrong}")
    held = {one["what"] for line in shown["transform"] for one in line["held_to"]}
    harness.check(held == {"fresh ratio", "reuse ratio", "fresh above native, ns"}, f"held to {held}")

    example = harness.ROOT / "transforms" / "redact"
    arguments = ["--input", example / "input.ndjson", "--config", example / "config.json", "--json"]
    done = hydrant("transform", "bench", example, *arguments)
    harness.check(done.returncode == 0, f"ended with {done.returncode}: {done.stderr.decode()}")
    ways = {(line["instances"], line["batch"]) for line in json.loads(done.stdout)["lines"]}
    harness.check(ways == {(how, n) for how in ("fresh", "reuse") for n in (1, 100, 1000)}, f"{ways}")
    # A WASI command is measured as far as it can be, and refused where more is asked for.
    command = harness.ROOT / "transforms" / "examples" / "log-to-json" / "c" / "log_to_json.wasm"
    lines = ["--input", command.parent.parent / "input.log"]
    done = hydrant("transform", "bench", command, *lines, "--instances", "reuse")
    harness.check(done.returncode != 0 and b"instances: reuse" in done.stderr, f"{done.stderr.decode()}")


if __name__ == "__main__":
    harness.run("bench", test)
