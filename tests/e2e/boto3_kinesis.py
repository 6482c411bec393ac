"""An unchanged boto3 puts, some of it aggregated as by the KPL, and reads back; so do calls in CBOR, as the
Java SDKs make them; every container on S3 and a directory hold every record once, redacted."""

import json

import harness
import kinesis_cbor
import kpl
from readers import read_objects

RECORDS = 50_000
# Of these every fifth goes into aggregates.
PER_AGGREGATE = 50
USERS = 97
HINTS = {"size": "2MiB", "interval": "300s"}

COLUMNS = [
    {"name": "id", "type": "string"},
    {"name": "user", "type": "string"},
    {"name": "email", "type": "string"},
    {"name": "number", "type": "bigint"},
]
SNAPPY_PARQUET = {"output": {"parquet": {"compression": "snappy"}}, "schema": {"columns": COLUMNS}}
CONTAINERS = ["none", "gzip", "zip", "snappy", "hadoop_snappy", "zstd"]


def delivery_streams(bucket, folder):
    """One per container on S3, one to a directory, all of one stream."""
    destinations = {
        name: harness.to_s3(bucket, name, compression=name, buffering_hints=HINTS) for name in CONTAINERS
    }
    destinations["parquet"] = harness.to_s3(
        bucket, "parquet", format_conversion=SNAPPY_PARQUET, buffering_hints=HINTS
    )
    directory = {"path": str(folder / "archive"), "compression": "gzip", "buffering_hints": HINTS}
    destinations["archive"] = {"directory": directory}
    return {
        name.replace("_", "-"): {
            "source": harness.embedded("clicks", deaggregation="keep_all"),
            "processors": [harness.redact(["email"])],
            "destination": destination,
        }
        for name, destination in destinations.items()
    }


def events():
    for number in range(RECORDS):
        user = f"user-{number % USERS}"
        event = {"id": f"e{number}", "user": user, "email": f"{user}@example.com", "number": number}
        yield user, json.dumps(event).encode()


def entries(shards):
    """What is put: plain records, and aggregates of records that belong to one shard."""
    all_events = list(events())
    plain = [(user, data, None) for number, (user, data) in enumerate(all_events) if number % 5]
    return plain + list(kpl.aggregates_by_shard(all_events[::5], shards, PER_AGGREGATE))


def second_stream(client):
    """A stream that the client makes, uses and deletes."""
    client.create_stream(StreamName="made-by-boto3", ShardCount=1)
    client.get_waiter("stream_exists").wait(
        StreamName="made-by-boto3", WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )
    harness.put_all(client, "made-by-boto3", [("k", b"%d" % number, None) for number in range(1_200)])
    (got,) = harness.read_stream(client, "made-by-boto3").values()
    data = [record["Data"] for record in got]
    harness.check(data == [b"%d" % number for number in range(1_200)], "the second stream is out of order")
    names = client.list_streams()["StreamNames"]
    harness.check(sorted(names) == ["clicks", "made-by-boto3"], f"the streams are {names}")
    client.delete_stream(StreamName="made-by-boto3")


def put_and_read_back(client):
    """Each shard gives back, in order of sequence number, what was put into it, wrappers as they were."""
    put = entries(client.list_shards(StreamName="clicks")["Shards"])
    places = harness.put_all(client, "clicks", put)
    got = harness.read_stream(client, "clicks")
    harness.check(len(got) == 2, f"{len(got)} shards")
    for shard, records in got.items():
        own = sorted((place[1], entry) for place, entry in zip(places, put) if place[0] == shard)
        harness.check(own, f"nothing was put into {shard}")
        wanted = [(sequence, entry[0], entry[1]) for sequence, entry in own]
        found = [(int(one["SequenceNumber"]), one["PartitionKey"], one["Data"]) for one in records]
        harness.check(found == wanted, f"{shard} gives not what was put, or in another order")


def delivered(bucket, folder):
    """The objects by destination."""
    found = {name: read_objects.read_s3(bucket, name + "/") for name in [*CONTAINERS, "parquet"]}
    archive = folder / "archive"
    found["archive"] = read_objects.read_folder(archive) if archive.exists() else []
    return found


def check_objects(name, objects):
    """Every record once, redacted and otherwise whole."""
    container = "gzip" if name == "archive" else name
    kinds = {one.container for one in objects}
    harness.check(kinds == {container}, f"{name}: containers {kinds}")
    counts = harness.count_ids(objects)
    wanted = [f"e{number}" for number in range(RECORDS)]
    harness.once_each(counts, wanted, name)
    harness.check(len(counts) == RECORDS, f"{name}: {len(counts)} records")
    for one in objects:
        for record in one.records:
            number = record["number"]
            whole = {"id": f"e{number}", "user": f"user-{number % USERS}", "email": "[redacted]", "number": number}
            harness.check(record == whole, f"{one.key}: record {record['id']} is not as it should be")


def test(folder):
    bucket = harness.new_bucket("boto3")
    service = harness.Hydrant(
        folder, {"clicks": {"shards": 2, "retention": "24h"}}, delivery_streams(bucket, folder)
    )
    service.start()
    client = service.client()
    second_stream(client)
    kinesis_cbor.put_and_read_back(service.api, client)
    put_and_read_back(client)
    service.stop()
    first = sum(len(one.records) for objects in delivered(bucket, folder).values() for one in objects)
    harness.check(first > 0, "the drain delivered nothing of what was read")

    def complete():
        found = delivered(bucket, folder)
        return all(sum(len(one.records) for one in found[name]) >= RECORDS for name in found)

    if not complete():
        service.deliver_all(complete)
    for name, objects in delivered(bucket, folder).items():
        check_objects(name, objects)
    errors = read_objects.read_s3(bucket, "errors/")
    harness.check(not errors, f"{len(errors)} error objects")


if __name__ == "__main__":
    harness.run("boto3_kinesis", test)
