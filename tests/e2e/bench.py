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


def bench(folder, *arguments):
    return subprocess.run(
        [harness.BINARY, "bench", "--dir", str(folder), *arguments],
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
    done = bench(folder, "no-such-stage")
    harness.check(done.returncode == 2, f"an unknown stage ended with {done.returncode}")
    harness.check(b"put-log-gzip6-directory" in done.stderr, "it does not say what there is")


if __name__ == "__main__":
    harness.run("bench", test)
