"""Memory is a contract: `memory: 256MiB`, far more than that put as fast as it goes, a destination that
takes 1 MiB/s for a while and then all it gets. The process stays below 256 MiB + 128 MiB throughout, what
waits lies in the log, and every record arrives once.

`HYDRANT_FULL=1` puts 2 GiB and is slow for two minutes; else it is a scaled form.
"""

import json
import os
import re
import threading
import time
import zlib

import harness
import pyarrow.parquet
from fault_proxy import FaultProxy
from load import Load
from readers import read_objects

FULL = os.environ.get("HYDRANT_FULL") == "1"
VERBOSE = os.environ.get("HYDRANT_VERBOSE") == "1"
PUT_BYTES = (2048 if FULL else 320) << 20
SLOW_SECONDS = 120 if FULL else 20
SLOW_RATE = 1 << 20
RECORD_BYTES = 3_020
LIMIT_BYTES = (256 + 128) << 20
# After the slow time; several times what it takes on two cores.
DELIVERED_WITHIN = 600 if FULL else 90
# Enough lanes that what they would hold is several times the budget.
SHARDS = 8
HINTS = {"size": "16MiB", "interval": "5s"}
# Who may hold memory: a share is by name.
HOLDERS = {"(api)", "(set_aside)", "gzip", "parquet"}
SCHEMA = {"columns": [{"name": "id", "type": "bigint"}, {"name": "pad", "type": "string"}]}
PARQUET = {"output": {"parquet": {"compression": "snappy"}}, "schema": SCHEMA}


class Watch(threading.Thread):
    """Samples the resident memory of a process, and what the service says of its budget."""

    def __init__(self, service):
        super().__init__(daemon=True)
        self.service, self.stopped = service, threading.Event()
        self.samples, self.budget_max = [], 0

    def run(self):
        began, rounds = time.monotonic(), 0
        while not self.stopped.wait(0.2):
            self.samples.append((time.monotonic() - began, self.status("VmRSS")))
            rounds += 1
            if rounds % 5 == 0:
                used = self.service.metrics().get("hydrant_memory_used_bytes", 0)
                self.budget_max = max(self.budget_max, used)
                if VERBOSE:
                    seconds, size = self.samples[-1]
                    print(f"memory: {seconds:.0f} s: RSS {size >> 20} MiB, budget {int(used) >> 20} MiB", flush=True)

    def status(self, name):
        with open(f"/proc/{self.service.process.pid}/status") as file:
            text = file.read()
        return int(re.search(rf"{name}:\s+(\d+) kB", text)[1]) << 10

    def cpu_seconds(self):
        with open(f"/proc/{self.service.process.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak(self):
        return max(self.status("VmHWM"), *(size for _, size in self.samples))


def delivery_streams(bucket, endpoint):
    def to(name, **settings):
        destination = harness.to_s3(bucket, name, endpoint=endpoint, buffering_hints=HINTS, **settings)
        return {"source": harness.embedded("clicks"), "destination": destination}

    return {"gzip": to("gzip", compression="gzip"), "parquet": to("parquet", format_conversion=PARQUET)}


def ids_of(body):
    """The ids in an object, without more of it in memory than one object."""
    if body.startswith(b"PAR1"):
        return pyarrow.parquet.read_table(pyarrow.BufferReader(body), columns=["id"])["id"].to_pylist()
    return [int(number) for number in re.findall(rb'\{"id": (\d+),', zlib.decompress(body, wbits=31))]


def check_once(bucket, name, records):
    client, seen, objects = read_objects.s3_client(), bytearray(records), 0
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=name + "/"):
        for entry in page.get("Contents", []):
            objects += 1
            for number in ids_of(client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()):
                harness.check(not seen[number], f"{name}: record {number} is there twice")
                seen[number] = 1
    lost = records - sum(seen)
    harness.check(lost == 0, f"{name}: {lost} of {records} records are missing")
    return objects


def test(folder):
    bucket = harness.new_bucket("memory")
    with FaultProxy(os.environ["HYDRANT_TEST_S3_ENDPOINT"]) as proxy:
        service = harness.Hydrant(
            folder,
            {"clicks": {"shards": SHARDS, "retention": "24h"}},
            delivery_streams(bucket, proxy.endpoint),
            memory="256MiB",
        )
        service.start()
        records = PUT_BYTES // RECORD_BYTES
        proxy.rate = SLOW_RATE
        proxy.always("slow")
        watch, began = Watch(service), time.monotonic()
        watch.start()
        load = Load(service.api, "clicks", records)
        put_bytes, throttled, error = finish(load, service, proxy, began)
        harness.check(error is None, f"the load failed: {error}")
        slow_bytes = proxy.body_bytes

        def all_delivered():
            now = service.metrics()
            counts = [now.get(f'hydrant_records_delivered_total{{delivery_stream="{one}"}}') for one in ("gzip", "parquet")]
            return counts == [records, records]

        harness.wait_until(all_delivered, DELIVERED_WITHIN, "not everything was delivered", service.process)
        took = time.monotonic() - began
        watch.stopped.set()
        watch.join(10)
        peak, cpu = watch.peak(), watch.cpu_seconds()
        print(
            f"memory: {put_bytes >> 20} MiB in {records} records put, {throttled} calls throttled; "
            f"{slow_bytes >> 20} MiB passed in the slow time; all delivered after {took:.0f} s, {cpu:.0f} s of CPU; "
            f"peak RSS {peak / (1 << 20):.0f} MiB, peak of the budget {watch.budget_max / (1 << 20):.0f} MiB",
            flush=True,
        )
        service.stop()
    for name in ("gzip", "parquet"):
        objects = check_once(bucket, name, records)
        print(f"memory: {name}: {records} records once each in {objects} objects", flush=True)
    harness.check(peak < LIMIT_BYTES, f"peak RSS {peak >> 20} MiB, limit {LIMIT_BYTES >> 20} MiB")
    harness.check(put_bytes >= PUT_BYTES * 0.98, f"only {put_bytes} bytes were put")


def finish(load, service, proxy, began):
    """Waits for the end of the load and of the slow time; then the destination takes all it gets."""
    while load.running() or time.monotonic() < began + SLOW_SECONDS:
        harness.check(service.process.poll() is None, "the service has ended")
        if proxy.plan("PUT", "") == "slow" and time.monotonic() >= began + SLOW_SECONDS:
            slow_over(load, service, proxy)
        if load.running() and time.monotonic() > began + DELIVERED_WITHIN + SLOW_SECONDS:
            raise harness.Failed("the load does not end")
        time.sleep(0.1)
    if proxy.plan("PUT", "") == "slow":
        slow_over(load, service, proxy)
    return load.end()


def slow_over(load, service, proxy):
    holders = {
        name: int(value) >> 20
        for name, value in service.metrics().items()
        if name.startswith("hydrant_memory_held_bytes")
    }
    names = set(re.findall(r'holder="([^"]+)"', " ".join(holders)))
    harness.check(names == HOLDERS, f"memory is held under the names {names}, and not {HOLDERS}")
    state = "the load still runs" if load.running() else "the load has ended"
    print(f"memory: end of the slow time, {state}; MiB held: {json.dumps(holders)}", flush=True)
    proxy.always("ok")


if __name__ == "__main__":
    harness.run("memory", test)
