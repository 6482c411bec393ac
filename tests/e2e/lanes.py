"""Many lanes on one worker: a thousand idle shards cost less than 64 MiB and 2 % of a core, and ten busy
ones among them get fair shares."""

import json
import os
import time

import harness
import memory

SHARDS = 1_000
BUSY = 10
IDLE_SECONDS = 10
IDLE_MEMORY_BYTES = 64 << 20
IDLE_CORE = 0.02
# Per busy shard, in rounds, so that all have the same at any time.
ROUNDS = 200
PER_ROUND = 50
PAD = "p" * 1_000
HASHES = 1 << 128


def delivery_streams(folder):
    directory = {
        "path": str(folder / "archive"),
        "compression": "none",
        "buffering_hints": {"size": "1MiB", "interval": "1s"},
    }
    return {"archive": {"source": harness.embedded("clicks"), "destination": {"directory": directory}}}


def idle(folder, shards):
    """A service that has come to rest; with its memory and what it takes of a core."""
    folder.mkdir()
    service = harness.Hydrant(folder, {"clicks": {"shards": shards, "retention": "24h"}}, delivery_streams(folder))
    service.start()
    name = 'hydrant_lanes{delivery_stream="archive"}'
    harness.wait_until(lambda: service.metrics()[name] == shards, 60, "not all lanes are read", service.process)
    # What starting took is over.
    time.sleep(3)
    watch = memory.Watch(service)
    before, began = watch.cpu_seconds(), time.monotonic()
    time.sleep(IDLE_SECONDS)
    core = (watch.cpu_seconds() - before) / (time.monotonic() - began)
    return service, watch.status("VmRSS"), core


def busy(service):
    """Puts the same into each busy shard, round by round; how long until all of it was delivered."""
    client = service.client()
    put = 0
    watch, began = memory.Watch(service), time.monotonic()
    before = watch.cpu_seconds()
    for number in range(ROUNDS):
        entries = []
        for lane in range(BUSY):
            # In the middle of every hundredth shard.
            explicit = (lane * SHARDS // BUSY) * (HASHES // SHARDS) + HASHES // SHARDS // 2
            for one in range(PER_ROUND):
                record = {"id": f"{lane}-{number}-{one}", "lane": lane, "round": number, "pad": PAD}
                entries.append(("k", json.dumps(record).encode(), explicit))
        harness.put_all(client, "clicks", entries)
        put += len(entries)
    name = 'hydrant_records_delivered_total{delivery_stream="archive"}'
    harness.wait_until(lambda: service.metrics()[name] == put, 60, "not everything was delivered", service.process)
    return put, time.monotonic() - began, watch.cpu_seconds() - before


def check_fair(folder, put):
    """Every record once; and the first objects of each lane were not kept back for those of another."""
    objects = memory.read_objects.read_folder(folder / "archive")
    counts = harness.count_ids(objects)
    wanted = [f"{lane}-{number}-{one}" for lane in range(BUSY) for number in range(ROUNDS) for one in range(PER_ROUND)]
    harness.once_each(counts, wanted, "archive")
    harness.check(len(counts) == put, f"{len(counts)} records, {put} were put")
    ends = {}
    for one in objects:
        lane = one.records[0]["lane"]
        harness.check(all(record["lane"] == lane for record in one.records), f"{one.key} is of several shards")
        written = os.stat(folder / "archive" / one.key).st_mtime
        ends.setdefault(lane, []).append(written)
    harness.check(len(ends) == BUSY, f"objects of {len(ends)} shards")
    first = [min(times) for times in ends.values()]
    last = [max(times) for times in ends.values()]
    return max(first) - min(first), max(last) - min(last)


def test(folder):
    one, one_bytes, one_core = idle(folder / "one", 1)
    one.stop()
    many, many_bytes, many_core = idle(folder / "many", SHARDS)
    more = many_bytes - one_bytes
    print(
        f"lanes: idle: 1 shard {one_bytes / (1 << 20):.1f} MiB, {one_core:.2%} of a core; "
        f"{SHARDS} shards {many_bytes / (1 << 20):.1f} MiB, {many_core:.2%}",
        flush=True,
    )
    put, took, cpu = busy(many)
    many.stop()
    first, last = check_fair(folder / "many", put)
    print(
        f"lanes: {BUSY} busy of {SHARDS}: {put} records in {took:.1f} s, {cpu:.1f} s of CPU; "
        f"first objects within {first:.2f} s of each other, last ones within {last:.2f} s",
        flush=True,
    )
    harness.check(more < IDLE_MEMORY_BYTES, f"{SHARDS} idle shards take {more >> 20} MiB")
    harness.check(many_core < IDLE_CORE, f"{SHARDS} idle shards take {many_core:.2%} of a core")
    harness.check(first < 5 and last < 5, f"lanes are served {first:.1f} s and {last:.1f} s apart")


if __name__ == "__main__":
    harness.run("lanes", test)
