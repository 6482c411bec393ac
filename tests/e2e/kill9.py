"""Kill -9, twenty times, while boto3 puts and the service delivers to S3 and to a directory: what was
acknowledged is in exactly one object, and nothing is anywhere twice.

The moments come from a seed, printed at the start: `HYDRANT_E2E_SEED=N` repeats them.
"""

import json
import os
import random
import threading
import time

import botocore.exceptions
import harness
from readers import read_objects

KILLS = 20
BATCH = 100
HINTS = {"size": "64KiB", "interval": "1s"}
# The longest life between two kills, from ready.
LIFE_SECONDS = 2.0


class Producer(threading.Thread):
    """Puts until told to stop. Each attempt has ids of its own, so that a second put of what may have
    arrived is a second record."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client = client
        self.stopped = threading.Event()
        self.acknowledged, self.attempted, self.unanswered, self.error = [], 0, 0, None

    def run(self):
        try:
            while not self.stopped.is_set():
                self.put()
        except Exception as error:  # handed to the main thread, which fails by it
            self.error = error

    def put(self):
        ids = [f"a{self.attempted + number}" for number in range(BATCH)]
        self.attempted += BATCH
        records = [
            {"PartitionKey": f"k{number % 7}", "Data": json.dumps({"id": one, "email": "x", "pad": "p" * 200}).encode()}
            for number, one in enumerate(ids)
        ]
        try:
            answer = self.client.put_records(StreamName="clicks", Records=records)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
            # Killed under it, or not yet up again: unknown, so not counted as acknowledged.
            self.unanswered += BATCH
            time.sleep(0.05)
            return
        taken = [one for one, result in zip(ids, answer["Records"], strict=True) if "ErrorCode" not in result]
        self.acknowledged += taken
        if len(taken) < BATCH:
            time.sleep(0.05)


def delivery_streams(bucket, folder):
    destinations = {
        "to-s3": harness.to_s3(bucket, "kill9", compression="gzip", buffering_hints=HINTS),
        "to-directory": {
            "directory": {"path": str(folder / "archive"), "compression": "gzip", "buffering_hints": HINTS}
        },
    }
    return {
        name: {
            "source": harness.embedded("clicks"),
            "processors": [harness.redact(["email"])],
            "destination": destination,
        }
        for name, destination in destinations.items()
    }


def delivered(bucket, folder):
    archive = folder / "archive"
    return {
        "to-s3": read_objects.read_s3(bucket, "kill9/"),
        "to-directory": read_objects.read_folder(archive) if archive.exists() else [],
    }


def live_and_die(service, producer, moments):
    for number in range(KILLS):
        service.start()
        before = len(producer.acknowledged)
        time.sleep(moments.uniform(0.05, LIFE_SECONDS))
        if number % 4 == 3:
            # Some lives are long enough for puts and deliveries, however slow the machine is.
            harness.wait_until(lambda: len(producer.acknowledged) > before, 20, "nothing was acknowledged")
        service.kill()
        if producer.error is not None:
            raise harness.Failed(f"the producer failed: {producer.error!r}")


def test(folder):
    seed = int(os.environ.get("HYDRANT_E2E_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"kill9: seed {seed}", flush=True)
    bucket = harness.new_bucket("kill9")
    service = harness.Hydrant(
        folder, {"clicks": {"shards": 2, "retention": "24h"}}, delivery_streams(bucket, folder)
    )
    producer = Producer(service.client())
    producer.start()
    live_and_die(service, producer, random.Random(seed))
    producer.stopped.set()
    producer.join(60)
    harness.check(not producer.is_alive(), "the producer did not end")
    wanted = producer.acknowledged
    harness.check(len(wanted) >= 1_000, f"only {len(wanted)} records were acknowledged")
    before = {name: len(objects) for name, objects in delivered(bucket, folder).items()}
    harness.check(all(before.values()), f"objects before the last kill: {before}")

    def complete():
        return all(
            set(wanted) <= set(harness.count_ids(objects))
            for objects in delivered(bucket, folder).values()
        )

    service.deliver_all(complete)
    for name, objects in delivered(bucket, folder).items():
        counts = harness.count_ids(objects)
        harness.once_each(counts, wanted, name)
        emails = {record["email"] for one in objects for record in one.records}
        harness.check(emails == {"[redacted]"}, f"{name}: emails {emails}")
        extra = len(counts) - len(wanted)
        print(
            f"kill9: {name}: {len(wanted)} acknowledged, {extra} more of {producer.unanswered} unanswered, "
            f"{len(objects)} objects, {before[name]} of them before the last kill"
        )
    harness.check(not read_objects.read_s3(bucket, "errors/"), "there are error objects")


if __name__ == "__main__":
    harness.run("kill9", test)
