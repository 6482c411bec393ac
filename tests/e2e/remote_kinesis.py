"""A stream of kinesis-mock, another implementation of Kinesis, is read by two delivery streams while it
is put into, split and merged, and while the service is killed: every record comes once, in order per
partition key. A third one starts at `latest`, and a restart skips nothing.
"""

import json
import os
import signal
import subprocess
import time
import urllib.request

import boto3
import botocore.config

import harness
import kpl
from readers import read_objects
from with_parent import end_with_parent

RECORDS = 100_000
LATE_RECORDS = 2_000
# Four of five users' records go into aggregates of so many: the mock slows down with every Kinesis record.
PER_AGGREGATE = 50
USERS = 211
STREAM = "remote"
HINTS = {"size": "2MiB", "interval": "2s"}
DELIVERED_SECONDS = 180


class Mock:
    """kinesis-mock on loopback."""

    def __init__(self, folder):
        self.port, tls = harness.free_port(), harness.free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        main = os.environ["HYDRANT_TEST_KINESIS_MOCK"]
        preload = harness.ROOT / "tests" / "e2e" / "loopback.js"
        with open(folder / "kinesis-mock.log", "ab") as log:
            self.process = subprocess.Popen(
                ["node", "-r", str(preload), main],
                cwd=os.path.dirname(main),
                env={
                    **os.environ,
                    "KINESIS_MOCK_PLAIN_PORT": str(self.port),
                    "KINESIS_MOCK_TLS_PORT": str(tls),
                    "LOG_LEVEL": "ERROR",
                    "SHARD_LIMIT": "100",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent,
            )
        harness.wait_until(self.healthy, 60, "kinesis-mock is not healthy", self.process)

    def healthy(self):
        try:
            with urllib.request.urlopen(f"{self.endpoint}/healthcheck", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def client(self):
        return boto3.client(
            "kinesis",
            endpoint_url=self.endpoint,
            aws_access_key_id="any",
            aws_secret_access_key="any",
            region_name="us-east-1",
            config=botocore.config.Config(retries={"total_max_attempts": 1}),
        )

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)


def source(mock, **settings):
    return {
        "kinesis": {
            "stream": STREAM,
            "endpoint": mock.endpoint,
            "region": "us-east-1",
            "credentials": {"access_key_id": "any", "secret_access_key": "any"},
            "poll_interval": "200ms",
            **settings,
        }
    }


def delivery_streams(mock, bucket, folder, late=False):
    archive = {"path": str(folder / "archive"), "compression": "gzip", "buffering_hints": HINTS}
    streams = {
        "to-s3": {
            "source": source(mock),
            "processors": [harness.redact(["email"])],
            "destination": harness.to_s3(bucket, "all", compression="gzip", buffering_hints=HINTS),
        },
        "to-folder": {
            "source": source(mock, deaggregation="strict"),
            "destination": {"directory": archive},
        },
    }
    if late:
        streams["late"] = {
            "source": source(mock, start="latest"),
            "destination": harness.to_s3(bucket, "late", compression="gzip", buffering_hints=HINTS),
        }
    return streams


def active(client):
    summary = client.describe_stream_summary(StreamName=STREAM)
    return summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"


def open_shards(client):
    shards = client.list_shards(StreamName=STREAM)["Shards"]
    return [one for one in shards if "EndingSequenceNumber" not in one["SequenceNumberRange"]]


def event(number):
    user = f"user-{number % USERS}"
    record = {"id": f"e{number}", "user": user, "email": f"{user}@example.com", "number": number}
    return user, json.dumps(record).encode()


def entries(first, last, shards):
    """Records `first` to `last`: plain, and aggregates of records that belong to one shard now. The
    users of the two kinds differ, so that each user's records are put in order."""
    plain = [(*event(number), None) for number in range(first, last) if number % USERS % 5 == 0]
    rest = (event(number) for number in range(first, last) if number % USERS % 5)
    return plain + list(kpl.aggregates_by_shard(rest, shards, PER_AGGREGATE))


def put(client, first, last):
    harness.wait_until(lambda: active(client), 30, "the stream is not active")
    harness.put_all(client, STREAM, entries(first, last, open_shards(client)))


def split_first(client):
    shard = min(open_shards(client), key=lambda one: one["ShardId"])
    ends = shard["HashKeyRange"]
    middle = (int(ends["StartingHashKey"]) + int(ends["EndingHashKey"])) // 2
    client.split_shard(StreamName=STREAM, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(middle))


def merge_last(client):
    ordered = sorted(open_shards(client), key=lambda one: int(one["HashKeyRange"]["StartingHashKey"]))
    left, right = ordered[-2], ordered[-1]
    client.merge_shards(
        StreamName=STREAM, ShardToMerge=left["ShardId"], AdjacentShardToMerge=right["ShardId"]
    )


def in_order(bucket, prefix):
    """Each user's numbers rise, over the objects of a shard and from parents to children (whose ids are
    higher)."""
    s3, placed = read_objects.s3_client(), []
    for one in read_objects.read_s3(bucket, prefix):
        metadata = s3.head_object(Bucket=bucket, Key=one.key)["Metadata"]
        placed.append((metadata["hydrant-lane"], int(metadata["hydrant-first"].split(".")[0]), one))
    last = {}
    for lane, _, one in sorted(placed, key=lambda it: it[:2]):
        for record in one.records:
            before = last.get(record["user"], -1)
            harness.check(before < record["number"], f"{lane}: {record['id']} comes after number {before}")
            last[record["user"]] = record["number"]
    return {lane for lane, _, _ in placed}


def delivered(objects, wanted):
    return sum(len(one.records) for one in objects if not one.is_error) >= wanted


def test(folder):
    mock = Mock(folder)
    try:
        run(folder, mock)
    finally:
        mock.stop()


def run(folder, mock):
    client, bucket = mock.client(), harness.new_bucket("remote")
    service = harness.Hydrant(folder, {}, delivery_streams(mock, bucket, folder))
    service.start()
    client.create_stream(StreamName=STREAM, ShardCount=4)
    put(client, 0, 30_000)
    split_first(client)
    put(client, 30_000, 50_000)
    service.kill()
    merge_last(client)
    put(client, 50_000, 80_000)
    service.start()
    put(client, 80_000, RECORDS)
    archive = folder / "archive"

    def complete(wanted):
        found = read_objects.read_s3(bucket, "all/")
        return delivered(found, wanted) and delivered(read_objects.read_folder(archive), wanted)

    harness.wait_until(lambda: complete(RECORDS), DELIVERED_SECONDS, "not all is delivered", service.process)
    service.stop()
    wanted = [f"e{number}" for number in range(RECORDS)]
    harness.once_each(harness.count_ids(read_objects.read_s3(bucket, "all/")), wanted, "S3")
    harness.once_each(harness.count_ids(read_objects.read_folder(archive)), wanted, "the folder")
    lanes = in_order(bucket, "all/")
    harness.check(len(lanes) == 7, f"four shards, two of a split and one of a merge, but objects of {sorted(lanes)}")
    from_the_tip(folder, mock, client, bucket)


def from_the_tip(folder, mock, client, bucket):
    """What came before `latest` was resolved is not delivered; what came while the service was down is."""
    service = harness.Hydrant(folder, {}, delivery_streams(mock, bucket, folder, late=True))
    # Records arrive in milliseconds, and `latest` is one of them.
    time.sleep(1)
    service.start()
    harness.wait_until(
        lambda: b"late" in (folder / "hydrant.log").read_bytes(), 30, "`late` does not begin", service.process
    )
    time.sleep(3)
    service.kill()
    put(client, RECORDS, RECORDS + LATE_RECORDS)
    service.start()
    wanted = [f"e{number}" for number in range(RECORDS, RECORDS + LATE_RECORDS)]
    harness.wait_until(
        lambda: delivered(read_objects.read_s3(bucket, "late/"), LATE_RECORDS),
        DELIVERED_SECONDS,
        "not all that is late is delivered",
        service.process,
    )
    service.stop()
    counts = harness.count_ids(read_objects.read_s3(bucket, "late/"))
    harness.once_each(counts, wanted, "late")
    harness.check(len(counts) == LATE_RECORDS, f"late: {len(counts)} records")
    errors = read_objects.read_s3(bucket, "errors/")
    harness.check(not errors, f"{len(errors)} error objects")


if __name__ == "__main__":
    harness.run("remote_kinesis", test)
