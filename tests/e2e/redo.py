"""A range whose intent was written is finished by the transform it began with, though the
configuration has changed since; later ranges take the new one."""

import json
import time

import botocore.exceptions
import harness
from readers import read_objects

HINTS = {"size": "64KiB", "interval": "300s"}
BATCH = 50
# The crash comes after this intent and before anything of its range is delivered.
CRASH_AT = 3


def delivery_streams(bucket, fields):
    return {
        "redone": {
            "source": harness.embedded("clicks"),
            "processors": [harness.redact(fields)],
            "destination": harness.to_s3(bucket, "redo", buffering_hints=HINTS),
        }
    }


def put(client, first):
    records = [
        {"id": first + number, "email": "x@example.com", "name": "Ann", "pad": "p" * 100}
        for number in range(BATCH)
    ]
    entries = [("k", json.dumps(record).encode(), None) for record in records]
    harness.put_all(client, "clicks", entries)


def put_until_it_dies(service):
    """Puts until the crash point ends the process; gives the ids that were acknowledged."""
    client, number = service.client(), 0
    deadline = time.monotonic() + 60
    while service.process.poll() is None:
        harness.check(time.monotonic() < deadline, "the crash point was not reached")
        try:
            put(client, number)
        except botocore.exceptions.BotoCoreError:
            break
        number += BATCH
        time.sleep(0.05)
    service.process.wait(harness.STOP_SECONDS)
    return list(range(number)), number + BATCH


def test(folder):
    bucket = harness.new_bucket("redo")
    streams = {"clicks": {"shards": 1, "retention": "24h"}}
    service = harness.Hydrant(folder, streams, delivery_streams(bucket, ["email"]))
    service.start(HYDRANT_CRASH_AT=f"after-intent:{CRASH_AT}")
    wanted, following = put_until_it_dies(service)
    before = {one.key for one in read_objects.read_s3(bucket, "redo/")}
    harness.check(len(before) == CRASH_AT - 1, f"{len(before)} objects at the crash")

    service.configure(streams, delivery_streams(bucket, ["email", "name"]))
    service.start()
    client = service.client()
    for first in range(following, following + 20 * BATCH, BATCH):
        put(client, first)
    wanted += range(following, following + 20 * BATCH)
    service.stop()

    def complete():
        return set(wanted) <= set(harness.count_ids(read_objects.read_s3(bucket, "redo/")))

    if not complete():
        service.deliver_all(complete)
    objects = read_objects.read_s3(bucket, "redo/")
    harness.once_each(harness.count_ids(objects), wanted, "redo")
    check_versions(objects, before)


def check_versions(objects, before):
    """Old objects are those from before the crash and one more, and every later one is new."""
    old, new = {}, {}
    for one in objects:
        names = {record["name"] for record in one.records}
        emails = {record["email"] for record in one.records}
        harness.check(emails == {"[redacted]"}, f"{one.key}: an email was not redacted")
        harness.check(names in ({"Ann"}, {"[redacted]"}), f"{one.key} holds records of both transforms")
        (old if names == {"Ann"} else new)[one.key] = [record["id"] for record in one.records]
    harness.check(before <= set(old), "an object from before the crash has changed")
    harness.check(len(old) == CRASH_AT, f"{len(old)} objects by the old transform, {CRASH_AT} were intended")
    last_old = max(max(ids) for ids in old.values())
    first_new = min(min(ids) for ids in new.values())
    harness.check(last_old < first_new, f"record {first_new} is by the new transform, {last_old} by the old")


if __name__ == "__main__":
    harness.run("redo", test)
