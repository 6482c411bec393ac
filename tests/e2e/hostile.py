"""Hostile transforms are contained: beside a delivery stream whose guests loop, want all memory, recurse, trap and
answer with too much, another one in the same process keeps its throughput, at the same load as alone. All records
that harm nothing are delivered, each other one ends in the error output with its place, the module and the reason,
and the process stays within its memory.

Compared is what the healthy stream did alone and beside the other one in the same run, so that a busy machine counts
for both.
"""

import base64
import hashlib
import json
import os
import statistics
import threading
import time

import harness
from load import Sender, SteadyLoad
from memory import Watch
from readers import read_objects

# Far below what two cores can deliver: what is measured is the neighbour, and not the machine.
BYTES_A_SECOND = 12 << 20
WARM_SECONDS, WINDOW_SECONDS = 2, 14
KEPT = 0.9
# The age of the oldest undelivered record may be so much higher, in seconds: a loop is known for one after half
# a second, and a busy machine has its pauses. Who waits for loops waits for several seconds.
LATER = 2.5
TIMEOUT_SECONDS = 2
MODULE = harness.ROOT / "crates" / "transform" / "tests" / "it" / "hostile.wasm"
# More lanes that loop than the service has threads.
SHARDS = (os.cpu_count() or 1) + 2
HASHES = 1 << 128
MEMORY = 256 << 20
# What the process takes beside its budget: its code, compiled modules, stacks, and what the allocator keeps.
ALLOWANCE = 128 << 20
# A word that the guest knows, and the code and the reason that its record must fail with.
KINDS = {
    "loop": ("Transform.TimedOut", "did not end within its time limit"),
    "alloc": ("Transform.MemoryLimit", "wanted more memory than its limit"),
    "deep": ("Transform.Trapped", "call stack exhausted"),
    "huge": ("Transform.OutputLimit", "outputs pass what is left"),
    "million": ("Transform.OutputLimit", "outputs pass what is left"),
    "trap": ("Transform.Trapped", "a record asked for a trap"),
}
# What a limit makes harmless.
FLOOD = "logflood"
# What follows the loops, a second after the other.
NEXT = ["alloc", "deep", "huge", "loop", "million", "trap", FLOOD]


def delivery_streams(folder):
    def to(name, size):
        return {
            "directory": {
                "path": str(folder / name),
                "compression": "none",
                "buffering_hints": {"size": size, "interval": "1s"},
                "error_output_prefix": "errors/!{firehose:error-output-type}/",
            }
        }

    hostile = {"wasm": {"module": str(MODULE), "timeout": f"{TIMEOUT_SECONDS}s"}}
    return {
        "healthy": {
            "source": harness.embedded("healthy"),
            "processors": [harness.redact(["pad"])],
            "destination": to("healthy", "1MiB"),
        },
        "hostile": {"source": harness.embedded("hostile"), "processors": [hostile], "destination": to("hostile", "1MiB")},
    }


class Hostile(threading.Thread):
    """Puts hostile records among harmless ones: at first a loop into every shard, then each kind in turn."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.stopped, self.error = client, threading.Event(), None
        self.number, self.harmless = 0, set()
        # Shard and sequence number of each hostile record.
        self.places = {}

    def run(self):
        try:
            for shard in range(SHARDS):
                self.put(shard, "loop")
            for turn, word in enumerate(NEXT):
                if self.stopped.wait(1):
                    return
                self.put(turn % SHARDS, word)
        except Exception as problem:  # the main thread fails by it
            self.error = problem

    def put(self, shard, word):
        """The word's record between ten that harm nothing."""
        texts = []
        for at in range(11):
            self.number += 1
            name = word if at == 5 else "harmless"
            texts.append(f"{name} {self.number}")
        explicit = shard * (HASHES // SHARDS) + HASHES // SHARDS // 2
        placed = harness.put_all(self.client, "hostile", [("k", text.encode(), explicit) for text in texts])
        for text, place in zip(texts, placed, strict=True):
            if text.split()[0] in KINDS:
                self.places[text] = place
            else:
                self.harmless.add(text)


class CheapSender(Sender):
    """Records of 6,000 bytes in many fields, of which only the id differs and little is kept: the work is the
    transform's, and not that of whoever puts or reads."""

    RECORD_BYTES = 6_000
    # Whole groups of three bytes, so that each part is encoded on its own.
    HEAD = '{"id": %9d,  "pad": {'
    FIELDS = ", ".join(f'"field{number:03}": {number * 7}' for number in range(330))
    TAIL = base64.b64encode((FIELDS + "}}").encode()).decode()

    def entry(self, number):
        head = base64.b64encode((self.HEAD % number).encode()).decode()
        return f'{{"PartitionKey":"k{number % 101}","Data":"{head}{self.TAIL}"}}'


class Window:
    """What a stream delivers in a time, and how old its oldest undelivered record gets."""

    def __init__(self, service, load, seconds=WINDOW_SECONDS):
        self.service = service
        began, offered, delivered = time.monotonic(), load.acknowledged(), self.delivered()
        ages = []
        while time.monotonic() < began + seconds:
            time.sleep(0.2)
            harness.check(service.process.poll() is None, "the service has ended")
            ages.append(self.sample("delivery_to_directory_data_freshness_seconds"))
        self.seconds = time.monotonic() - began
        self.offered = (load.acknowledged() - offered) / self.seconds
        self.rate = (self.delivered() - delivered) / self.seconds
        self.age, self.oldest = statistics.median(ages), max(ages)

    def sample(self, name):
        return self.service.metrics()[f'hydrant_{name}{{delivery_stream="healthy"}}']

    def delivered(self):
        return self.sample("records_delivered_total")

    def __str__(self):
        return (
            f"{self.rate:.0f} of {self.offered:.0f} records/s delivered; "
            f"oldest one waiting {self.age:.2f} s old, at most {self.oldest:.2f} s"
        )


def check_healthy(folder, put):
    """Every record once, and those of a shard in order."""
    objects = read_objects.read_folder(folder / "healthy")
    harness.check(not any(one.is_error for one in objects), "the healthy stream has an error output")
    harness.once_each(harness.count_ids(objects), range(put), "healthy")
    for shard in range(2):
        lane = [one for one in objects if f"shardId-{shard:012}" in one.key]
        ids = [record["id"] for one in lane for record in one.records]
        harness.check(ids == sorted(ids), f"shard {shard} of the healthy stream is out of order")


def check_hostile(folder, hostile, module):
    """What harms nothing is delivered, once; each other record is in the error output, and says why."""
    delivered, failed = [], {}
    for path in sorted((folder / "hostile").rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        lines = path.read_text().splitlines()
        if "errors" not in path.parts:
            delivered += lines
            continue
        for record in map(json.loads, lines):
            text = base64.b64decode(record["rawData"]).decode()
            harness.check(text not in failed, f"`{text}` failed twice")
            failed[text] = record
    harness.check(len(delivered) == len(set(delivered)), "harmless records are there twice")
    harness.check(set(delivered) == hostile.harmless, f"{len(delivered)} of {len(hostile.harmless)} harmless records")
    harness.check(set(failed) == set(hostile.places), f"{len(failed)} of {len(hostile.places)} hostile records failed")
    for text, record in failed.items():
        code, reason = KINDS[text.split()[0]]
        place = (record["lane"], int(record["sequenceNumber"]))
        harness.check(record["errorCode"] == code, f"`{text}` has the code {record['errorCode']}")
        harness.check(reason in record["errorMessage"], f"`{text}`: {record['errorMessage']}")
        harness.check(place == hostile.places[text], f"`{text}` is said to be at {place}")
        harness.check(record["moduleDigest"] == module, f"`{text}` names the module {record['moduleDigest']}")


def test(folder):
    streams = {"healthy": {"shards": 2}, "hostile": {"shards": SHARDS}}
    service = harness.Hydrant(folder, streams, delivery_streams(folder), memory=f"{MEMORY >> 20}MiB")
    service.start()
    watch = Watch(service)
    watch.start()
    load = SteadyLoad(service.api, "healthy", BYTES_A_SECOND, CheapSender)
    harness.wait_until(lambda: load.acknowledged() or not load.running(), 30, "nothing is put", service.process)
    time.sleep(WARM_SECONDS)
    before = watch.cpu_seconds()
    alone = Window(service, load)
    cores = (watch.cpu_seconds() - before) / alone.seconds
    hostile = Hostile(service.client())
    hostile.start()
    beside = Window(service, load)
    hostile.join(30)
    harness.check(not hostile.is_alive() and hostile.error is None, f"hostile records were not put: {hostile.error}")
    result = load.end()
    harness.check(result.error is None, f"the load failed: {result.error}")
    put = {"healthy": result.records, "hostile": len(hostile.harmless)}

    def all_ended():
        now = service.metrics()
        done = {one: now[f'hydrant_records_delivered_total{{delivery_stream="{one}"}}'] for one in put}
        failed = now['hydrant_records_failed_total{delivery_stream="hostile"}']
        return done == put and failed == len(hostile.places)

    began = time.monotonic()
    harness.wait_until(all_ended, 60, "not all records have ended", service.process)
    took = time.monotonic() - began
    watch.stopped.set()
    watch.join(10)
    peak = watch.peak()
    service.stop()
    share = (beside.rate / beside.offered) / (alone.rate / alone.offered)
    print(f"hostile: alone: {alone}; {cores:.2f} cores", flush=True)
    print(f"hostile: beside {len(hostile.places)} hostile records in {SHARDS} lanes: {beside}", flush=True)
    print(
        f"hostile: {share:.1%} of the throughput; the hostile stream ended {took:.0f} s after it; "
        f"peak RSS {peak >> 20} MiB of {MEMORY >> 20} + {ALLOWANCE >> 20} MiB",
        flush=True,
    )
    check_healthy(folder, result.records)
    module = hashlib.sha256(MODULE.read_bytes()).hexdigest()
    check_hostile(folder, hostile, module)
    harness.check(share >= KEPT, f"the healthy stream kept {share:.1%} of its throughput")
    later = beside.oldest - alone.oldest
    harness.check(later < LATER, f"its oldest record waited {later:.1f} s longer")
    harness.check(peak < MEMORY + ALLOWANCE, f"peak RSS {peak >> 20} MiB")


if __name__ == "__main__":
    harness.run("hostile", test)
