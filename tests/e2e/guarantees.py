"""The matrix of guarantees: for each source, destination and fault, what is lost, comes twice or is out of order.

One service reads an embedded stream, another one a stream of kinesis-mock; each delivers to all destinations
at once and goes through every fault in turn, while records are put that name the fault. Counted is what other
software reads back. `MAY` says where more than nothing is allowed; everything else must be 0. README's tables are
made of this: `HYDRANT_UPDATE=1` writes them anew, and without it they must be as this program would write them.
"""

import base64
import collections
import json
import os
import random
import time

import botocore.exceptions
import harness
import remote_kinesis
from fault_proxy import FaultProxy
from readers import read_objects

SOURCES = {"embedded": "embedded stream", "kinesis": "Kinesis"}
DESTINATIONS = {"s3": "S3", "directory": "directory", "stdout": "stdout"}
# What may happen, by destination and fault; (lost, twice, out of order).
MAY = {
    # A pipe has no names, so a range that is redone is written again.
    ("stdout", "kill"): (False, True, False),
    ("stdout", "changed"): (False, True, False),
}
# Faults of a network, which a folder and a pipe do not have.
REMOTE_ONLY = ("down", "lost_answer", "refused")
# What only the simulator can do: scenarios of `tests/src/sim/plan.rs`, each without a violation in every run of the tests.
SIMULATED = {
    "power": "the power fails: each write and directory entry that was not synced is kept, lost or torn",
    "sync": "a sync of the disk fails",
    "full": "the disk is full for a while",
    "flip": "a bit of the log flips (the start is refused, with its place)",
    "clock": "the wall clock jumps, forward and backward",
    "shards": "several shards at once, each in its order",
    "remote": "shards of a remote stream are split and merged while they are read, and reads are throttled",
    "workers": "two workers on one lane: paused, stolen from, late writes",
    "overrun": "a transform runs out of time, differently at every try",
    "stall": "a destination takes nothing for a long time while others want the memory",
    "trimmed": "the source removes records before they are read: those are reported, the rest is delivered",
}
MODULE = harness.ROOT / "transforms" / "web-events" / "web_events.wasm"
BATCH, KEYS = 20, 5
README = harness.ROOT / "README.md"
BEGIN, END = "<!-- guarantees: made by tests/e2e/guarantees.py -->", "<!-- guarantees: end -->"


class World:
    """A source, a service that reads it into all destinations, and whoever puts."""

    def __init__(self, source, folder, proxy, mock):
        self.source, self.folder, self.proxy, self.mock = source, folder / source, proxy, mock
        self.folder.mkdir()
        self.bucket = harness.new_bucket("guarantees-" + source)
        self.rng = random.Random(7)
        streams = {"clicks": {"shards": 2, "retention": "24h"}} if source == "embedded" else {}
        self.streams, self.fields = streams, ["email"]
        self.service = harness.Hydrant(self.folder, streams, self.delivery_streams())
        self.service.stdout = self.folder / "records.txt"
        self.put_client = self.service.client() if source == "embedded" else mock.client()
        self.stream = "clicks" if source == "embedded" else remote_kinesis.STREAM
        self.fault, self.number = None, 0
        self.wanted = collections.defaultdict(list)

    def delivery_streams(self):
        if self.source == "embedded":
            source = harness.embedded("clicks")
        else:
            source = remote_kinesis.source(self.mock)
        hints = {"size": "64KiB", "interval": "1s"}
        shape = {"compression": "gzip", "buffering_hints": hints}
        errors = {"error_output_prefix": "errors/!{firehose:error-output-type}/"}
        destinations = {
            "s3": harness.to_s3(self.bucket, "s3", endpoint=self.proxy.endpoint, **shape),
            "directory": {"directory": {"path": str(self.folder / "archive"), **errors, **shape}},
            "stdout": {"stdout": {"buffering_hints": hints}},
        }
        processor = {"wasm": {"module": str(MODULE), "config": {"fields": self.fields}}}
        return {
            name: {"source": source, "processors": [processor], "destination": destination}
            for name, destination in destinations.items()
        }

    def put_for(self, seconds):
        """Puts for so long. A record is put once; one whose answer is lost may be there."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.put()
            time.sleep(0.1)

    def put(self):
        ids = [f"{self.fault}.{self.number + one}" for one in range(BATCH)]
        numbers = range(self.number, self.number + BATCH)
        self.number += BATCH
        entries = [
            {"PartitionKey": f"k{number % KEYS}", "Data": json.dumps(self.record(one, number)).encode()}
            for one, number in zip(ids, numbers, strict=True)
        ]
        try:
            answer = self.put_client.put_records(StreamName=self.stream, Records=entries)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
            return
        results = zip(ids, answer["Records"], strict=True)
        self.wanted[self.fault] += [one for one, result in results if "ErrorCode" not in result]

    def record(self, one, number):
        # Every tenth has no type: the transform refuses it.
        kind = {} if self.fault == "bad" and number % 10 == 0 else {"type": "click"}
        return {**kind, "id": one, "number": number, "key": number % KEYS, "email": "x", "pad": "p" * 400}

    def restart(self, end):
        end()
        self.service.start()

    def complete(self):
        wanted = {one for ids in self.wanted.values() for one in ids}
        there = {name: {one for part in self.read(name) for ids in part for one in ids} for name in DESTINATIONS}
        return all(wanted <= ids for ids in there.values())

    def read(self, name):
        """The ids in each object: of data, and of errors."""
        if name == "s3":
            found = read_objects.read_s3(self.bucket, "s3/") + read_objects.read_s3(self.bucket, "errors/s3/")
        elif name == "directory":
            found = read_objects.read_folder(self.folder / "archive")
        else:
            records = [json.loads(line) for line in self.service.stdout.read_text().splitlines()]
            parts = [[record for record in records if ("rawData" in record) == failed] for failed in (False, True)]
            return [[[identity(record) for record in part]] for part in parts]
        parts = [[one for one in found if one.is_error == failed] for failed in (False, True)]
        return [[[identity(record) for record in one.records] for one in part] for part in parts]


def identity(record):
    """The id of a record, also where it is in an error object."""
    if "rawData" in record:
        record = json.loads(base64.b64decode(record["rawData"]))
    return record["id"]


def kill(world):
    for _ in range(3):
        world.put_for(world.rng.uniform(0.3, 1.5))
        world.restart(world.service.kill)


def term(world):
    world.put_for(1)
    world.restart(world.service.stop)
    world.put_for(0.5)


def down(world):
    with world.proxy.refusing():
        world.put_for(1.5)
    for mode in ("503", "500", "silence", "reset"):
        world.proxy.always(mode)
        world.put_for(0.8)
    world.proxy.always("ok")


def lost_answer(world):
    world.proxy.plan = lambda _method, _path: world.rng.choice(["reset_after", "late", "twice", "truncated", "ok"])
    world.put_for(3)
    world.proxy.always("ok")


def refused(world):
    for mode in ("403", "401"):
        world.proxy.always(mode)
        world.put_for(1)
    world.proxy.always("ok")


def changed(world):
    """Another transform while ranges are open, and one more time."""
    for fields in (["email", "pad"], ["email"]):
        world.put_for(0.7)
        world.fields = fields
        world.service.configure(world.streams, world.delivery_streams())
        world.restart(world.service.kill)
    world.put_for(0.5)


def bad(world):
    world.put_for(1.5)


FAULTS = {
    "kill": (kill, "`kill -9` in the middle"),
    "term": (term, "SIGTERM, start"),
    "down": (down, "the destination refuses, resets, hangs, answers 500 and 503"),
    "lost_answer": (lost_answer, "it stores an object, and the answer is lost, late or cut short"),
    "refused": (refused, "permission is refused for a while (401, 403)"),
    "changed": (changed, "`kill -9`, and the configuration changes while ranges are open"),
    "bad": (bad, "records that the transform refuses (they are in error objects)"),
}


def measure(world, name):
    """By fault: how many are lost, how many come twice, how many are before one that was put earlier."""
    parts = world.read(name)
    counts = collections.Counter(one for part in parts for ids in part for one in ids)
    measured = {fault: [0, 0, 0] for fault in FAULTS}
    for fault, ids in world.wanted.items():
        measured[fault][0] = sum(one not in counts for one in ids)
    for one, count in counts.items():
        measured[one.split(".")[0]][1] += count > 1
    for part in parts:
        for fault, late in out_of_order(part):
            measured[fault][2] += late
    return measured


def out_of_order(objects):
    """By fault: records with a later one of their key before them, in an object or across objects."""
    spans = collections.defaultdict(list)
    for ids in objects:
        last, seen = {}, set()
        for one in ids:
            fault, number = one.split(".")[0], int(one.split(".")[1])
            key = (fault, number % KEYS)
            if one not in seen:
                yield fault, number < last.get(key, number)
                last[key] = max(number, last.get(key, number))
                spans[key, id(ids)] = [min(number, spans.get((key, id(ids)), [number])[0]), last[key]]
            seen.add(one)
    by_key = collections.defaultdict(set)
    for (key, _), span in spans.items():
        by_key[key].add(tuple(span))
    for (fault, _), found in by_key.items():
        found = sorted(found)
        for (_, end), (start, _) in zip(found, found[1:], strict=False):
            yield fault, start < end


def cell(source, name, fault, measured):
    """What README says of one cell; an error where it is more than may be."""
    if name != "s3" and fault in REMOTE_ONLY:
        return "-"
    may = MAY.get((name, fault), (False, False, False))
    for what, count, allowed in zip(("lost", "twice", "out of order"), measured, may, strict=True):
        harness.check(allowed or count == 0, f"{source} to {name}, {fault}: {count} {what}")
    return " / ".join("some" if allowed else "0" for allowed in may)


def tables(cells):
    columns = [(source, name) for source in SOURCES for name in DESTINATIONS]
    heads = [f"{SOURCES[source]} → {DESTINATIONS[name]}" for source, name in columns]
    rows = [f"| lost / twice / out of order | {' | '.join(heads)} |", "| --- " * (len(heads) + 1) + "|"]
    for fault, (_, text) in FAULTS.items():
        rows.append(f"| {text} | {' | '.join(cells[source, name, fault] for source, name in columns)} |")
    rows += ["", "By the simulator, into simulated buckets (`cargo xtask sim --scenario NAME`):", ""]
    rows += ["| scenario | what happens | lost / twice / out of order |", "| --- | --- | --- |"]
    rows += [f"| `{name}` | {text} | 0 / 0 / 0 |" for name, text in SIMULATED.items()]
    return "\n".join(rows)


def check_readme(text):
    readme = README.read_text()
    harness.check(BEGIN in readme and END in readme, f"README.md has no {BEGIN}")
    before, rest = readme.split(BEGIN)
    old, after = rest.split(END)
    if os.environ.get("HYDRANT_UPDATE") == "1":
        README.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    else:
        harness.check(old.strip() == text, "README's tables of guarantees are not these; HYDRANT_UPDATE=1 writes them:\n" + text)


def check_scenarios():
    plan = (harness.ROOT / "tests" / "src" / "sim" / "plan.rs").read_text()
    for name in SIMULATED:
        harness.check(f'    "{name}",\n' in plan, f"the simulator has no scenario {name}")


def test(folder):
    check_scenarios()
    mock = remote_kinesis.Mock(folder)
    try:
        mock.client().create_stream(StreamName=remote_kinesis.STREAM, ShardCount=2)
        harness.wait_until(lambda: remote_kinesis.active(mock.client()), 30, "the stream is not active")
        cells = {}
        for source in SOURCES:
            with FaultProxy(os.environ["HYDRANT_TEST_S3_ENDPOINT"]) as proxy:
                proxy.hang_seconds = 4
                cells |= go_through(World(source, folder, proxy, mock))
    finally:
        mock.stop()
    check_readme(tables(cells))


def go_through(world):
    world.service.start()
    for fault, (happen, _) in FAULTS.items():
        world.fault, world.number = fault, 0
        happen(world)
        harness.check(len(world.wanted[fault]) >= BATCH, f"{fault}: hardly anything was put")
    world.service.stop()
    if not world.complete():
        world.service.deliver_all(world.complete)
    cells = {}
    for name in DESTINATIONS:
        measured = measure(world, name)
        print(f"guarantees: {world.source} to {name}, of {dict_of_counts(world)}: {measured}", flush=True)
        for fault in FAULTS:
            cells[world.source, name, fault] = cell(world.source, name, fault, measured[fault])
    return cells


def dict_of_counts(world):
    return {fault: len(ids) for fault, ids in world.wanted.items()}


if __name__ == "__main__":
    harness.run("guarantees", test)
