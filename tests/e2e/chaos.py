"""Chaos: many short lives of the service, each in its own weather and with its own end, while boto3 puts
and the service delivers to S3, through a proxy that fails, and to a directory. What was acknowledged is in
exactly one object, nothing is anywhere twice, and what has one partition key is in order.

A life ends by kill -9 at a random moment, by SIGTERM, or by itself at one of `POINTS`, each of which must
have been hit. Weathers and ends come from a seed, printed at the start: `HYDRANT_E2E_SEED=N` repeats them.
`HYDRANT_CHAOS_KILLS=N` is the number of lives, more with `HYDRANT_FULL=1`.
"""

import collections
import json
import os
import random
import signal
import threading
import time

import botocore.exceptions
import harness
from fault_proxy import FaultProxy
from readers import read_objects

FULL = os.environ.get("HYDRANT_FULL") == "1"
KILLS = int(os.environ.get("HYDRANT_CHAOS_KILLS") or (200 if FULL else 28))
# The named moments at which the service ends itself (`crates/hydrant/src/crash/mod.rs`), and the highest
# number of the hit that does it: few lives commit often.
POINTS = {
    "after-intent": 3,
    "after-object": 4,
    "after-objects": 3,
    "after-commit": 3,
    "disk-torn-write": 30,
    "disk-before-sync": 30,
    "disk-after-sync": 30,
    "disk-after-rename": 2,
}
# How the other lives end, and how often.
ENDS = {"kill": 6, "term": 1}
# The longest life until a kill, from its start, and the longest until a named moment.
LIFE_SECONDS, POINT_SECONDS = 3.0, 8.0
# What may become of a request in a bad weather; `refuse` is of connections.
FAULTS = (
    "500", "503", "429", "401", "403", "garbage", "nonsense", "silence", "deaf", "refuse",
    "reset", "reset_during", "late", "twice", "reset_after", "truncated", "short", "long", "slow", "drip",
)  # fmt: skip
COMPOSED = ("reset_after", "truncated", "long", "503", "twice", "reset_during")
HANG_SECONDS = 4
BATCH, KEYS, PAD_BYTES = 100, 7, 4_000
# Enough that each of two shards has more than the size of `large`.
LEAST_RECORDS = 7_000
MODULE = harness.ROOT / "transforms" / "web-events" / "web_events.wasm"
DESTINATIONS = {
    "small": {"size": "64KiB", "interval": "1s"},
    # Two parts; only size closes a range.
    "large": {"size": "9MiB", "interval": "300s"},
    "directory": {"size": "64KiB", "interval": "1s"},
}


def outputs(number):
    """What record `number` becomes: the ids of its events, none, or `None` where it is no event."""
    if number % 50 == 0:
        return []
    if number % 37 == 0:
        return None
    return [f"{number}.{one}" for one in range(3)] if number % 20 == 0 else [f"{number}.0"]


def record(number, pad):
    events = outputs(number)
    if events is None:
        return {"number": number}
    if not events:
        return {"type": "health_check"}
    found = [{"type": "click", "id": one, "key": number % KEYS, "email": "x", "pad": pad} for one in events]
    return found[0] if len(found) == 1 else {"type": "batch", "events": found}


class Producer(threading.Thread):
    """Puts until told to stop. A record is put once: whether one that was not answered arrived is unknown."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.stopped = client, threading.Event()
        self.acknowledged, self.attempted, self.error = [], 0, None

    def run(self):
        try:
            while not self.stopped.is_set():
                self.put()
        except Exception as error:  # handed to the main thread, which fails by it
            self.error = error

    def put(self):
        numbers = range(self.attempted + 1, self.attempted + 1 + BATCH)
        self.attempted += BATCH
        pad = "p" * PAD_BYTES
        records = [
            {"PartitionKey": f"k{number % KEYS}", "Data": json.dumps(record(number, pad)).encode()} for number in numbers
        ]
        try:
            answer = self.client.put_records(StreamName="clicks", Records=records)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
            time.sleep(0.05)
            return
        results = zip(numbers, answer["Records"], strict=True)
        taken = [number for number, result in results if "ErrorCode" not in result]
        self.acknowledged += taken
        # Slow enough that delivering keeps pace.
        time.sleep(0.02)


class Weather:
    """What the proxy does during one life."""

    def __init__(self, rng, calm=False):
        self.faults = [] if calm else rng.sample(FAULTS, rng.choice([0, 1, 2, 3, len(FAULTS)]))
        # From the start, nothing else happens for so long.
        stormy = not calm and rng.random() < 0.3
        self.storm, self.storm_seconds = (rng.choice(FAULTS) if stormy else None), rng.uniform(0.3, 1.5)
        self.refuses = self.storm == "refuse"
        self.often, self.rng = rng.uniform(0.3, 0.7), random.Random(rng.random())

    def begin(self, proxy):
        began = time.monotonic()

        def plan(_method, _path):
            if self.storm and time.monotonic() < began + self.storm_seconds:
                mode = self.storm
            elif self.faults and self.rng.random() < self.often:
                mode = self.rng.choice(self.faults)
            else:
                return "ok"
            if mode == "drip":
                return "drip+" + self.rng.choice(COMPOSED)
            return "reset" if mode == "refuse" else mode

        proxy.plan = plan


class Lives:
    """Lives of one service, one after the other."""

    def __init__(self, service, proxy, producer, rng):
        self.service, self.proxy, self.producer, self.rng = service, proxy, producer, rng
        self.ends, self.hits = collections.Counter(), collections.Counter()

    def run(self):
        points = list(POINTS) * max(1, KILLS // 2 // len(POINTS))
        others = max(0, KILLS - len(points))
        ends = points + self.rng.choices(list(ENDS), list(ENDS.values()), k=others)
        self.rng.shuffle(ends)
        missed = []
        for number, end in enumerate(ends):
            if not self.live(end, Weather(self.rng), grows=number % 4 == 3):
                missed.append(end)
        # In bad weather a moment may not come; a calm one has all that are left.
        for end in missed:
            if not self.hits[end]:
                harness.check(self.live(end, Weather(self.rng, calm=True)), f"{end} was not reached")
        # However slow the machine is, a last life has enough for an object in parts.
        while len(self.producer.acknowledged) < LEAST_RECORDS:
            self.live("kill", Weather(self.rng, calm=True), grows=True)

    def live(self, end, weather, grows=False):
        """One life; whether it ended as it should."""
        point, before = end in POINTS, len(self.producer.acknowledged)
        crash = {"HYDRANT_CRASH_AT": f"{end}:{self.rng.randint(1, POINTS[end])}"} if point else {}
        ends_at = time.monotonic() + (POINT_SECONDS if point else self.rng.uniform(0.05, LIFE_SECONDS))
        weather.begin(self.proxy)
        self.service.launch(**crash)
        if weather.refuses:
            with self.proxy.refusing():
                self.pass_time(min(ends_at, time.monotonic() + weather.storm_seconds))
        self.pass_time(ends_at)
        code = self.service.process.poll()
        if code is not None:
            harness.check(point and code == -signal.SIGKILL, f"it ended by itself with {code}")
            self.hits[end] += 1
        elif end == "term":
            harness.wait_until(self.service.ready, harness.START_SECONDS, "not ready", self.service.process)
            self.proxy.always("ok")
            self.service.stop()
        else:
            if grows:
                # Some lives are long enough for puts, however slow the machine is.
                acknowledged = self.producer.acknowledged
                harness.wait_until(lambda: len(acknowledged) > before, 20, "nothing was acknowledged")
            self.service.kill()
        self.ends[end if code is not None or not point else "kill"] += 1
        harness.check(self.producer.error is None, f"the producer failed: {self.producer.error!r}")
        return code is not None or not point

    def pass_time(self, until):
        """Waits for a moment, or for the end of the process."""
        while time.monotonic() < until and self.service.process.poll() is None:
            time.sleep(0.01)


def delivery_streams(bucket, folder, endpoint):
    def destination(name, hints):
        shape = {"compression": "none" if name == "large" else "gzip", "buffering_hints": hints}
        if name == "directory":
            prefixes = {"error_output_prefix": "errors/!{firehose:error-output-type}/"}
            return {"directory": {"path": str(folder / "archive"), **prefixes, **shape}}
        return harness.to_s3(bucket, name, endpoint=endpoint, **shape)

    return {
        name: {
            "source": harness.embedded("clicks"),
            "processors": [{"wasm": {"module": str(MODULE), "config": {"fields": ["email"]}}}],
            "destination": destination(name, hints),
        }
        for name, hints in DESTINATIONS.items()
    }


class Reader:
    """Reads all that is delivered; what is there does not change, so nothing is read twice."""

    def __init__(self, bucket, folder):
        self.bucket, self.archive = bucket, folder / "archive"
        self.known = {name: {} for name in DESTINATIONS}

    def read(self, name):
        """The objects of a delivery stream, its error objects among them."""
        if name == "directory":
            return read_objects.read_folder(self.archive) if self.archive.exists() else []
        client, known = read_objects.s3_client(), self.known[name]
        for prefix in (name + "/", f"errors/{name}/"):
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                for key in (entry["Key"] for entry in page.get("Contents", [])):
                    if key not in known and ".hydrant-probe" not in key:
                        answer = client.get_object(Bucket=self.bucket, Key=key)
                        known[key] = read_objects.read_object(key, answer["Body"].read())
                        known[key].place = (answer["Metadata"]["hydrant-lane"], position(answer["Metadata"]["hydrant-first"]))
        return list(known.values())


def position(text):
    """A position as it orders."""
    return tuple(int(part) for part in (text + ".0").split(".")[:2])


class Wanted:
    """What became of the records that were acknowledged."""

    def __init__(self, acknowledged):
        became = [(number, outputs(number)) for number in acknowledged]
        self.events = [one for _, events in became if events for one in events]
        self.failed = [number for number, events in became if events is None]

    def is_in(self, objects):
        return set(self.events) <= set(harness.count_ids(objects)) and set(self.failed) <= set(failures(objects))

    def check(self, name, objects):
        harness.once_each(harness.count_ids(objects), self.events, name)
        harness.once_each(failures(objects), self.failed, name + ", errors")
        data = [one for one in objects if not one.is_error]
        emails = {record["email"] for one in data for record in one.records}
        harness.check(emails == {"[redacted]"}, f"{name}: emails {emails}")
        check_order(name, data)


def failures(objects):
    return collections.Counter(
        json.loads(record["input"])["number"] for one in objects if one.is_error for record in one.records
    )


def check_order(name, data):
    """What has one key is in order: inside objects, and from one to the next; and objects say so."""
    spans = collections.defaultdict(list)
    for one in data:
        by_key = collections.defaultdict(list)
        for record in one.records:
            by_key[record["key"]].append(tuple(map(int, record["id"].split("."))))
        for key, ids in by_key.items():
            harness.check(ids == sorted(ids), f"{name}: {one.key} is out of order")
            spans[key].append((ids[0], ids[-1], getattr(one, "place", None), one.key))
    for parts in spans.values():
        parts.sort()
        for (_, last, place, key), (first, _, next_place, next_key) in zip(parts, parts[1:]):
            harness.check(last < first, f"{name}: {key} and {next_key} overlap")
            in_order = place is None or (place[0] == next_place[0] and place[1] < next_place[1])
            harness.check(in_order, f"{name}: {key} at {place} is before {next_key} at {next_place}")


def check_leftovers(hidden, last):
    """Temporary files are named after their process: those of killed ones are gone."""
    left = [one.name for one in hidden.iterdir() if one.name.split("-")[1] != str(last)]
    harness.check(not left, f"temporary files of killed processes are left: {left}")


def test(folder):
    seed = int(os.environ.get("HYDRANT_E2E_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"chaos: seed {seed}, {KILLS} lives", flush=True)
    rng, bucket = random.Random(seed), harness.new_bucket("chaos")
    with FaultProxy(os.environ["HYDRANT_TEST_S3_ENDPOINT"]) as proxy:
        proxy.hang_seconds = HANG_SECONDS
        service = harness.Hydrant(
            folder, {"clicks": {"shards": 2, "retention": "24h"}}, delivery_streams(bucket, folder, proxy.endpoint)
        )
        producer, reader = Producer(service.client()), Reader(bucket, folder)
        producer.start()
        lives = Lives(service, proxy, producer, rng)
        lives.run()
        producer.stopped.set()
        producer.join(60)
        harness.check(not producer.is_alive(), "the producer did not end")
        print(f"chaos: lives by their end: {dict(lives.ends)}; requests by what they met: {dict(proxy.seen)}", flush=True)
        # Few lives may miss one by chance; `refuse` is of connections, not of requests.
        met, all_kinds = set(FAULTS) & set(proxy.seen), set(FAULTS) - {"refuse"}
        enough = len(all_kinds) if KILLS >= 300 else len(all_kinds) // 2
        harness.check(len(met) >= enough, f"requests met only {met} of {all_kinds}")
        harness.check(len(producer.acknowledged) >= 1_000, f"only {len(producer.acknowledged)} were acknowledged")
        before = {name: len(reader.read(name)) for name in DESTINATIONS}
        wanted = Wanted(producer.acknowledged)
        proxy.always("ok")
        service.deliver_all(lambda: all(wanted.is_in(reader.read(name)) for name in DESTINATIONS))
    check_leftovers(folder / "archive" / ".hydrant-tmp", service.process.pid)
    for name in DESTINATIONS:
        objects = reader.read(name)
        wanted.check(name, objects)
        parts = sum(one.size_bytes > 8 << 20 for one in objects)
        harness.check(name != "large" or parts, "no object was sent in parts")
        print(
            f"chaos: {name}: {len(producer.acknowledged)} of {producer.attempted} acknowledged, "
            f"{len(objects)} objects, {before[name]} of them before the last life, {parts} in parts",
            flush=True,
        )


if __name__ == "__main__":
    harness.run("chaos", test)
