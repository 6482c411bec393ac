"""A destination that fails in every way it can, and then is well: nothing is lost, nothing comes twice, and
what is counted as delivered is never more than what can be read.

Small objects and multipart ones, through a proxy between the service and a real S3 server; in between a
kill -9. While permission is refused there is an alarm, and afterwards none. `HYDRANT_FULL=1` refuses for a
minute instead of a shorter time; the moments come from a seed, printed at the start.
"""

import json
import os
import random
import threading
import time

import botocore.exceptions
import harness
from fault_proxy import FaultProxy
from readers import read_objects

FULL = os.environ.get("HYDRANT_FULL") == "1"
MIXED_SECONDS = 30
REFUSED_SECONDS = 60 if FULL else 20
# A request is given up after 30 s and 1 s per MiB.
SILENT_SECONDS = 33
# The pauses between attempts grow to a minute at most.
RECOVERED_WITHIN = 100
BATCH = 100
PAD_BYTES = 4_000
BATCHES_A_SECOND = 4
STREAMS = {
    "small": {"size": "1MiB", "interval": "2s"},
    # Three parts or so.
    "large": {"size": "18MiB", "interval": "60s"},
}
# How often each happens while all of them do.
MIX = {"ok": 6, "500": 2, "503": 1, "reset": 2, "reset_after": 3, "truncated": 1}
CLASSES = ("transient", "throttled", "auth", "missing")


class Producer(threading.Thread):
    """Puts some records a second until told to stop."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.stopped = client, threading.Event()
        self.acknowledged, self.attempted, self.error = [], 0, None

    def run(self):
        try:
            while not self.stopped.wait(1 / BATCHES_A_SECOND):
                self.put()
        except Exception as error:  # handed to the main thread, which fails by it
            self.error = error

    def put(self):
        ids = [f"a{self.attempted + number}" for number in range(BATCH)]
        self.attempted += BATCH
        pad = "p" * PAD_BYTES
        records = [{"PartitionKey": one, "Data": json.dumps({"id": one, "pad": pad}).encode()} for one in ids]
        try:
            answer = self.client.put_records(StreamName="clicks", Records=records)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
            return  # killed under it: unknown, so not counted as acknowledged
        results = zip(ids, answer["Records"], strict=True)
        self.acknowledged += [one for one, result in results if "ErrorCode" not in result]


class Auditor:
    """Compares what is counted as delivered with what can be read, by whoever asks S3 itself."""

    def __init__(self, bucket, service):
        self.bucket, self.service = bucket, service
        self.records = {name: {} for name in STREAMS}  # by key: immutable once there
        self.sizes, self.samples = {}, 0
        self.earlier = dict.fromkeys(STREAMS, 0)  # of the processes before this one
        self.last = dict.fromkeys(STREAMS, 0)

    def sample(self):
        """The counts first: what comes until the objects are read is more, never less."""
        metrics = self.service.metrics()
        for name in STREAMS:
            self.last[name] = int(metrics[f'hydrant_records_delivered_total{{delivery_stream="{name}"}}'])
        for name in STREAMS:
            readable = sum(len(ids) for ids in self.read(name).values())
            counted = self.earlier[name] + self.last[name]
            harness.check(counted <= readable, f"{name}: {counted} counted as delivered, {readable} are readable")
        self.samples += 1
        return metrics

    def next_process(self):
        for name in STREAMS:
            self.earlier[name] += self.last[name]
            self.last[name] = 0

    def read(self, name):
        client, known = read_objects.s3_client(), self.records[name]
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=name + "/"):
            for entry in page.get("Contents", []):
                key = entry["Key"]
                if key not in known and ".hydrant-probe" not in key:
                    body = client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
                    known[key] = [record["id"] for record in read_objects.read_object(key, body).records]
                    self.sizes[key] = len(body)
        return known


def delivery_streams(bucket, endpoint):
    return {
        name: {
            "source": harness.embedded("clicks"),
            "destination": harness.to_s3(bucket, name, endpoint=endpoint, compression="none", buffering_hints=hints),
        }
        for name, hints in STREAMS.items()
    }


def failing(metrics, kind):
    """The streams that fail for this reason."""
    label = 'hydrant_destination_failing{{delivery_stream="{}",class="{}"}}'
    return {name for name in STREAMS if metrics[label.format(name, kind)]}


def pass_time(seconds, auditor, producer):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        auditor.sample()
        harness.check(producer.error is None, f"the producer failed: {producer.error!r}")
        time.sleep(0.5)


def mixed(proxy, rng):
    kinds, weights = list(MIX), list(MIX.values())
    proxy.plan = lambda _method, _path: rng.choices(kinds, weights)[0]


def caught_up(service, producer):
    """Whether both streams have delivered since the call began."""
    began = {name: service.metrics()[f'hydrant_records_delivered_total{{delivery_stream="{name}"}}'] for name in STREAMS}

    def done():
        now = service.metrics()
        more = all(now[f'hydrant_records_delivered_total{{delivery_stream="{name}"}}'] > began[name] for name in STREAMS)
        return more and not any(failing(now, kind) for kind in CLASSES)

    harness.wait_until(done, RECOVERED_WITHIN, "no delivery after the destination was well again", service.process)
    harness.check(producer.error is None, f"the producer failed: {producer.error!r}")


def refused(proxy, service, auditor, producer):
    """401 and 403: an alarm that names the error, no loss, and no alarm afterwards."""
    proxy.plan = lambda method, _path: "403" if method == "PUT" else "401"
    harness.wait_until(
        lambda: failing(service.metrics(), "auth") == set(STREAMS), 60, "no alarm for refused permission", service.process
    )
    page = service.page("/readyz")
    for name in STREAMS:
        harness.check(f"failing: {name}: " in page, f"/readyz does not name {name}: {page}")
    harness.check("403" in page or "401" in page, f"/readyz does not name the error: {page}")
    auditor.sample()
    delivered = dict(auditor.last)
    pass_time(REFUSED_SECONDS, auditor, producer)
    harness.check(failing(service.metrics(), "auth") == set(STREAMS), "the alarm has ended too early")
    harness.check(auditor.last == delivered, f"delivered while refused: {delivered}, then {auditor.last}")
    proxy.always("ok")
    caught_up(service, producer)
    page = service.page("/readyz")
    harness.check("failing" not in page, f"/readyz still says: {page}")
    print(f"faults: refused for {REFUSED_SECONDS} s, the alarm came and went", flush=True)


def test(folder):
    seed = int(os.environ.get("HYDRANT_E2E_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"faults: seed {seed}", flush=True)
    rng, bucket = random.Random(seed), harness.new_bucket("faults")
    with FaultProxy(os.environ["HYDRANT_TEST_S3_ENDPOINT"]) as proxy:
        service = harness.Hydrant(
            folder, {"clicks": {"shards": 1, "retention": "24h"}}, delivery_streams(bucket, proxy.endpoint)
        )
        asked = []
        proxy.plan = lambda method, path: asked.append((method, path)) or "ok"
        service.start()
        producer, auditor = Producer(service.client()), Auditor(bucket, service)
        producer.start()
        harness.wait_until(
            lambda: auditor.sample() and all(auditor.last.values()), 60, "nothing was delivered", service.process
        )
        looked = any(method == "GET" and "uploads" in path for method, path in asked)
        harness.check(looked, "nobody looked for uploads that a killed process left")
        mixed(proxy, rng)
        pass_time(MIXED_SECONDS, auditor, producer)
        # What it had counted stays counted by the next process: the audit goes on from there.
        service.kill()
        auditor.next_process()
        service.start()
        pass_time(5, auditor, producer)
        proxy.always("silence")
        pass_time(SILENT_SECONDS, auditor, producer)
        proxy.always("ok")
        caught_up(service, producer)
        refused(proxy, service, auditor, producer)
        producer.stopped.set()
        producer.join(60)
        harness.check(not producer.is_alive(), "the producer did not end")
        service.stop()
        wanted = producer.acknowledged

        def complete():
            return all(
                set(wanted) <= {one for ids in auditor.read(name).values() for one in ids} for name in STREAMS
            )

        if not complete():
            service.deliver_all(complete)
        check_all(auditor, wanted, bucket)
        print(f"faults: requests by what they met: {dict(proxy.seen)}; {auditor.samples} samples", flush=True)


def check_all(auditor, wanted, bucket):
    for name in STREAMS:
        counts, parts = {}, 0
        for key, ids in auditor.read(name).items():
            parts += auditor.sizes[key] > 8 << 20
            for one in ids:
                counts[one] = counts.get(one, 0) + 1
        harness.once_each(counts, wanted, name)
        if name == "large":
            harness.check(parts >= 3, f"only {parts} objects were sent in parts")
        print(f"faults: {name}: {len(wanted)} records once each in {len(auditor.records[name])} objects", flush=True)
    harness.check(not read_objects.read_s3(bucket, "errors/"), "there are error objects")


if __name__ == "__main__":
    harness.run("faults", test)
