"""A range that another process renders again, on one thread and on many, has the same objects and error objects,
to the byte: by every checked-in example, with calls in it that ran out of time, and by guests that look at all
they could see of the world. Examples in other languages are tried where they are built, in `transforms`."""

import concurrent.futures
import contextlib
import dataclasses
import gzip
import itertools
import json
import os
import pathlib
import shutil
import time
import typing

import botocore.exceptions
import harness
from harness import ROOT, check

EXAMPLES = ROOT / "transforms" / "examples"
GUESTS = ROOT / "crates" / "transform" / "tests" / "it"
BATCH = 500
# Enough for the size of any case; each is dead long before.
MOST_RECORDS = 30_000
# A micro-batch has a thousand records of this suite at most, or more than 512 KiB.
MICRO_BATCH_RECORDS, PAD_BYTES = 1_000, 300_000
# Modules that hold a language's runtime are compiled for many seconds on a busy machine.
READY_SECONDS, CRASH_SECONDS = 120, 120
# So long a call may take when the range is made again: with fewer seconds for all of it, none was waited for.
PATIENCE, REDO_SECONDS = "5m", 240
ERROR_PREFIX = "errors/"
CPUS = sorted(os.sched_getaffinity(0))
# By turns, as cases run beside each other.
ONE_CPU = itertools.cycle(CPUS)


@dataclasses.dataclass
class Case:
    """What renders the range, and of what."""

    name: str
    processors: list
    record: typing.Callable[[int], bytes]
    partition: str = ""
    size: str = "1MiB"
    overruns: bool = False


def event(number):
    """A record with all that the examples look for in JSON; now and then one that fails."""
    if number % 37 == 0:
        return b"broken %d" % number
    if number % 41 == 0:
        return b'{"id": %d}' % number
    kind = ("click", "page_view", "batch", "health_check")[number % 4]
    events = [{"id": number, "type": "click"}, {"id": number + 0.5, "email": "bo@example.org", "type": "sign_up"}]
    record = {
        "id": number,
        "type": kind,
        "email": f"ann{number}@example.org",
        "user": {"ip": f"192.0.2.{number % 256}", "name": "Ann"},
        "contacts": [{"kind": "home", "phone": str(number)}, {"kind": "work"}],
        "order": number % 97,
        "line": "a",
        "store": ("b1", "h2", "nowhere")[number % 3],
        "events": events,
    }
    return json.dumps(record).encode()


def csv_line(number):
    if number % 37 == 0:
        return b"broken %d" % number
    first = f"x{number}" if number % 41 == 0 else number
    return f'{first},"Bo ""{number}"", of a long name, Ltd. {"p" * 60}",{number / 7},{"true" if number % 2 else ""}'.encode()


def log_line(number):
    if number % 37 == 0:
        return b"broken %d" % number
    request = f"GET /{number}?b=c HTTP/1.1"
    return f'192.0.2.7 - ann [10/Oct/2025:13:55:36 -0700] "{request}" 200 {number} "-" "Mozilla/5.0 (\\"{number}\\")"'.encode()


def record_of(example):
    return {"csv-to-json": csv_line, "log-to-json": log_line}.get(example, event)


def example(folder, module, **settings):
    """The case of an example: `transforms/examples/NAME/LANGUAGE`, or `transforms/NAME`."""
    folder = pathlib.Path(folder)
    name = folder.parent.name if (folder.parent / "tests").is_dir() else folder.name
    configs = [one / "config.json" for one in (folder, folder.parent)]
    config = next((json.loads(one.read_text()) for one in configs if one.is_file()), {})
    label = name if name == folder.name else f"{name} in {folder.name}"
    wasm = {"module": str(module), "config": config, **settings}
    partition = "bucket=!{partitionKeyFromWasm:bucket}/" if name == "dedupe-key" else ""
    return Case(label, [{"wasm": wasm}], record_of(name), partition)


def checked_in():
    """Every example that has its module in the repository."""
    transforms = ROOT / "transforms"
    lines = (transforms / "modules.lock").read_text().splitlines()
    for guest, module, _, _ in (line.split(" ") for line in lines if not line.startswith(("#", "testing/"))):
        yield example(transforms / guest, transforms / module)


def loops(number):
    """A first micro-batch of three records, one of which never ends, and then events."""
    if number in (1, 3):
        return json.dumps({"id": number, "pad": "p" * PAD_BYTES}).encode()
    # A trap too, found by halving.
    return {2: b"loop", 1_500: b"trap"}.get(number) or event(number)


def looks_around(number):
    """What a guest could tell two runs by; now and then it ends."""
    words = [b"clock", b"random", b"sleep", b"monotonic", b"world", b"environment", b"keys", b"many", b"stderr"]
    return b"exit" if number % 500 == 250 else words[number % len(words)]


def hostile_cases():
    """With overruns, in a component and in a command, before an example; and guests that look around."""
    limit = {"timeout": "1s"}
    hostile = {"wasm": {"module": str(GUESTS / "hostile.wasm"), **limit}}
    command = {"wasm": {"module": str(GUESTS / "command.wasm"), **limit}}
    wasi = {"wasm": {"module": str(GUESTS / "wasi_guest.wasm"), "wasi": True}}
    rust = example(ROOT / "transforms" / "redact", ROOT / "transforms" / "redact" / "redact.wasm").processors
    c = example(EXAMPLES / "redact" / "c", EXAMPLES / "redact" / "c" / "redact.wasm").processors
    # The first run uses instances again, the redo never does.
    used = json.loads(json.dumps(rust))
    used[0]["wasm"]["instances"] = "reuse"
    yield Case("redact with instances that are used again", used, event)
    yield Case("overruns of a component", [hostile, *rust], loops, size="1536KiB", overruns=True)
    yield Case("overruns of a command", [command, *c], loops, size="1536KiB", overruns=True)
    yield Case("a component that looks around", [wasi], looks_around, size="64KiB")
    yield Case("a command that looks around", [{"wasm": {"module": str(GUESTS / "command.wasm")}}], looks_around, size="64KiB")


def patient(processor):
    """The same with a longer limit of time, which is no part of a version."""
    wasm = processor["wasm"]
    return {"wasm": {**wasm, "timeout": PATIENCE}} if "timeout" in wasm else processor


def deliveries(case, processors):
    out = {
        "path": "out",
        "prefix": "data/" + case.partition,
        "error_output_prefix": ERROR_PREFIX + "!{firehose:error-output-type}/",
        "compression": "gzip",
        "buffering_hints": {"size": case.size, "interval": "300s"},
    }
    return {"d": {"source": harness.embedded("s"), "processors": processors, "destination": {"directory": out}}}


def objects(folder):
    """Every object's bytes by its name, error objects among them."""
    found = {}
    for at, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                path = pathlib.Path(at) / name
                found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def differences(first, again):
    """What is missing from another rendering of the same range, or other there. It may have later ranges."""
    missing = [f"{name} is missing" for name in first if name not in again]
    return missing + [f"{name} differs" for name in first if again.get(name, first[name]) != first[name]]


def put_until_it_dies(service, record):
    client = service.client()
    for first in range(1, MOST_RECORDS, BATCH):
        entries = [("k", record(number), None) for number in range(first, first + BATCH)]
        try:
            harness.put_all(client, "s", entries)
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
            break
    service.process.wait(CRASH_SECONDS)


def check_range(case, first):
    """It is worth its comparison: several micro-batches, objects and failures."""
    errors = {name: data for name, data in first.items() if name.startswith(ERROR_PREFIX)}
    check(errors and len(first) > len(errors), f"{case.name}: objects are missing: {list(first)}")
    failed = [json.loads(line) for data in errors.values() for line in data.splitlines()]
    delivered = [gzip.decompress(data).splitlines() for name, data in first.items() if name not in errors]
    count = len(failed) + sum(map(len, delivered))
    check(count > 2 * MICRO_BATCH_RECORDS, f"{case.name}: the range has {count} records")
    timed_out = sum(one["errorCode"] == "Transform.TimedOut" for one in failed)
    check((timed_out > 0) == case.overruns, f"{case.name}: {timed_out} records ran out of time")


@contextlib.contextmanager
def on_cpus(cpus):
    """What this thread starts meanwhile has these and no others."""
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, CPUS)


def pool_threads(service):
    """How many threads the service's guests run on; what such a thread starts has its name."""
    names = set()
    for task in pathlib.Path(f"/proc/{service.process.pid}/task").iterdir():
        # It may have ended since.
        with contextlib.suppress(OSError):
            names.add((task / "comm").read_text().strip())
    return sum(name.startswith("hydrant-cpu") for name in names)


def render_again(service, kept, first, cpus):
    """The objects of the range, made again from its intent by a process with these CPUs."""
    for name in ("data", "out"):
        shutil.rmtree(service.folder / name)
    shutil.copytree(kept, service.folder / "data")
    with on_cpus(cpus):
        service.launch()
    out = service.folder / "out"
    harness.wait_until(
        lambda: all((out / name).is_file() for name in first),
        REDO_SECONDS,
        f"the range is not made again: {service.folder}",
        service.process,
    )
    threads = pool_threads(service)
    # The spare one works only beside another delivery stream whose guests loop.
    check(threads == len(cpus) + 1, f"{threads} threads on {len(cpus)} CPUs")
    service.kill()
    return objects(out)


def same_again(folder, case, counts=(1, len(CPUS))):
    """Renders a range on all CPUs, ends before its position is committed, and renders it again on so many."""
    began = time.monotonic()
    folder.mkdir(parents=True)
    streams = {"s": {"shards": 1, "retention": "24h"}}
    service = harness.Hydrant(folder, streams, deliveries(case, case.processors))
    service.launch(HYDRANT_CRASH_AT="after-objects:1")
    harness.wait_until(service.ready, READY_SECONDS, f"{case.name}: not ready", service.process)
    put_until_it_dies(service, case.record)
    first = objects(folder / "out")
    check_range(case, first)
    kept = folder / "kept"
    shutil.copytree(folder / "data", kept)
    service.configure(streams, deliveries(case, [patient(one) for one in case.processors]))
    for count in counts:
        cpus = [next(ONE_CPU)] if count == 1 else CPUS
        wrong = differences(first, render_again(service, kept, first, cpus))
        check(not wrong, f"{case.name}, again on {len(cpus)} CPUs: {wrong}")
    shutil.rmtree(folder)
    print(f"{case.name}: {len(first)} objects, {time.monotonic() - began:.1f} s", flush=True)
    return first


def the_comparison_sees_a_byte(first):
    """A suite that compares has to see what it is there for."""
    name, data = next(iter(first.items()))
    other = data[:-1] + bytes([data[-1] ^ 1])
    check(differences(first, first) == [], "equal objects differ")
    check(differences(first, {**first, name: other}) == [f"{name} differs"], "a byte was not seen")
    check(differences(first, {}) != [], "nothing was taken for the same")


def test(folder):
    if len(CPUS) == 1:
        print("!!! NOT RUN: there is one CPU, so nothing was rendered on many threads", flush=True)
    cases = [*hostile_cases(), *checked_in()]
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        places = [folder / str(number) for number in range(len(cases))]
        all_firsts = list(pool.map(same_again, places, cases))
    the_comparison_sees_a_byte(all_firsts[0])


if __name__ == "__main__":
    harness.run("determinism", test)
