"""The processors that are built in, and dynamic partitioning: what CloudWatch Logs sends is decompressed
and taken apart, keys are found by a query, and every key has objects of its own; a CSV stream becomes
Parquet. Killed again and again, nothing is lost, nothing comes twice, and what fails is told as Firehose
tells it."""

import base64
import collections
import gzip
import json
import random
import re
import time

import botocore.exceptions
import harness
from readers import read_objects

BATCH = 20
BATCHES = 40
KILLS = 3
LEVELS = ("error", "info", "warn")
HINTS = {"size": "64KiB", "interval": "2s"}


def delivery_streams(bucket, limit=None):
    partitioning = {"enabled": True} | ({"max_active_partitions": limit} if limit else {})
    partitioned = {
        "prefix": "logs/level=!{partitionKeyFromQuery:level}/day=!{partitionKeyFromQuery:day}/",
        "compression": "gzip",
        "dynamic_partitioning": partitioning,
        "buffering_hints": HINTS,
    }
    columns = [
        {"name": "id", "type": "bigint"},
        {"name": "name", "type": "string"},
        {"name": "price", "type": "double"},
    ]
    conversion = {"output": {"parquet": {}}, "schema": {"columns": columns}}
    return {
        "logs": {
            "source": harness.embedded("logs"),
            "processors": [
                {"decompression": {"compression_format": "gzip"}},
                {"cloudwatch_logs": {"data_message_extraction": True}},
                {"metadata_extraction": {
                    "metadata_extraction_query": '{level: .level, day: .ts | strftime("%Y-%m-%d")}',
                    "json_parsing_engine": "jq-1.6",
                }},
                {"filter": {"condition": ".id % 10 != 0"}},
            ],
            "destination": harness.to_s3(bucket, "logs", **partitioned),
        },
        "orders": {
            "source": harness.embedded("orders"),
            "processors": [
                {"csv_to_json": {
                    "columns": [
                        {"name": "id", "type": "integer"},
                        "name",
                        {"name": "price", "type": "number"},
                    ],
                    "delimiter": ";",
                }},
            ],
            "destination": harness.to_s3(
                bucket, "orders", format_conversion=conversion, buffering_hints=HINTS
            ),
        },
    }


def event(number):
    day = 1_700_000_000 + number % 5 * 86_400
    return {"id": number, "level": LEVELS[number % 3], "ts": day, "text": "x" * (number % 90)}


def wanted_key(number):
    one = event(number)
    return one["level"], time.strftime("%Y-%m-%d", time.gmtime(one["ts"]))


def message(events, kind="DATA_MESSAGE"):
    texts = [{"id": str(i), "timestamp": 1, "message": json.dumps(one)} for i, one in enumerate(events)]
    return gzip.compress(json.dumps({
        "messageType": kind, "owner": "1", "logGroup": "g", "logStream": "s",
        "subscriptionFilters": ["f"], "logEvents": texts,
    }).encode())


# What fails on the way, by the code that it must fail with. A bomb, and rubbish behind it.
BAD = {
    "Decompression.Failed": [b"no gzip", gzip.compress(bytes(11 << 20))],
    "CloudWatchLogProcessing.InvalidRecord": [gzip.compress(b'{"a":1}')],
    "DynamicPartitioning.MetadataExtractionFailed": [
        message([{"id": -1, "ts": 1}]),
        message([{"id": -2, "level": "", "ts": 1}]),
    ],
}


def put(client, batch):
    """A batch of numbers, in messages of one to four, with bad records and control messages between."""
    dice, numbers = random.Random(batch), list(range(batch * BATCH, (batch + 1) * BATCH))
    logs, rest = [], list(numbers)
    while rest:
        count = dice.randint(1, 4)
        logs.append(message([event(number) for number in rest[:count]]))
        rest = rest[count:]
    logs.append(message([], "CONTROL_MESSAGE"))
    if batch == 5:
        logs += [record for records in BAD.values() for record in records]
    harness.put_all(client, "logs", [(str(dice.random()), record, None) for record in logs])
    lines = "\n".join(f'{number};"a ""{number}"";\n";{number / 4}' for number in numbers)
    harness.put_all(client, "orders", [("k", lines.encode(), None)])


def test(folder):
    bucket = harness.new_bucket("processors")
    streams = {"logs": {"shards": 2}, "orders": {"shards": 1}}
    service = harness.Hydrant(folder, streams, delivery_streams(bucket))
    service.start()
    client, kills = service.client(), 0
    for batch in range(BATCHES):
        put(client, batch)
        time.sleep(0.1)
        if batch % (BATCHES // (KILLS + 1)) == BATCHES // (KILLS + 1) - 1 and kills < KILLS:
            # Whatever it was at: ranges are open, sealed, and half delivered.
            service.kill()
            kills += 1
            service.start()
    batches = BATCHES + kill_between_intent_and_objects(service, client)
    service.start()
    numbers = range(batches * BATCH)
    wanted = [number for number in numbers if number % 10]

    def complete():
        logs = harness.count_ids(read_objects.read_s3(bucket, "logs/"))
        orders = harness.count_ids(read_objects.read_s3(bucket, "orders/"))
        return set(wanted) <= set(logs) and set(numbers) <= set(orders)

    harness.wait_until(complete, 60, "not everything was delivered", service.process)
    service.stop()
    check_logs(bucket, wanted)
    check_orders(bucket, numbers)
    check_errors(bucket)
    check_limit(service, bucket, client)


def kill_between_intent_and_objects(service, client):
    """A range whose intent is written, and none of whose objects is there, is redone after the crash. Gives
    the number of batches that were put; what comes of one that was not acknowledged is open."""
    service.stop()
    service.start(HYDRANT_CRASH_AT="after-intent:1")
    deadline, count = time.monotonic() + 60, 0
    try:
        for count in range(3):
            put(client, BATCHES + count)
            time.sleep(0.1)
        count += 1
    except botocore.exceptions.BotoCoreError:
        pass
    while service.process.poll() is None:
        harness.check(time.monotonic() < deadline, "the crash point was not reached")
        time.sleep(0.05)
    service.process.wait(harness.STOP_SECONDS)
    return count


def check_logs(bucket, wanted):
    objects = read_objects.read_s3(bucket, "logs/")
    harness.once_each(harness.count_ids(objects), wanted, "logs")
    keys = set()
    for one in objects:
        found = re.fullmatch(r"logs/level=(\w+)/day=([\d-]+)/logs-1-[\d-]+-[0-9a-f-]{36}\.gz", one.key)
        harness.check(found, f"{one.key} is no key of a partition")
        keys.add(found.groups())
        for record in one.records:
            harness.check(record == event(record["id"]), f"{one.key}: {record} was changed")
            harness.check(wanted_key(record["id"]) == found.groups(), f"{one.key} holds {record}")
    harness.check(keys == {wanted_key(number) for number in wanted}, f"{len(keys)} partitions")


def check_orders(bucket, numbers):
    objects = read_objects.read_s3(bucket, "orders/")
    harness.once_each(harness.count_ids(objects), numbers, "orders")
    for record in (record for one in objects for record in one.records):
        number = record["id"]
        expected = {"id": number, "name": f'a "{number}";\n', "price": number / 4}
        harness.check(record == expected, f"{record} should be {expected}")


def check_errors(bucket):
    """Each bad record once, with its code, below the folder of its kind."""
    found = collections.defaultdict(list)
    for one in read_objects.read_s3(bucket, "errors/logs/"):
        kind = one.key.split("/")[2]
        for record in one.records:
            code = record["errorCode"]
            expected = "decompression-failed" if code == "Decompression.Failed" else "processing-failed"
            harness.check(kind == expected, f"{code} is below {kind}")
            found[code].append(base64.b64decode(record["rawData"]))
    for code, records in BAD.items():
        harness.check(sorted(found.pop(code, [])) == sorted(records), f"{code}: other records failed")
    harness.check(not found, f"records failed that are good: {list(found)}")


def check_limit(service, bucket, client):
    """With a limit of partitions the others go to the error output, as with Firehose."""
    limited = delivery_streams(bucket, limit=4)
    service.configure({"logs": {"shards": 2}, "orders": {"shards": 1}}, {"logs": limited["logs"]})
    service.start()
    first = 1_000_001
    events = [event(number) for number in range(first, first + 60) if number % 10]
    harness.put_all(client, "logs", [("k", message(events), None)])

    def seen():
        ids = harness.count_ids(read_objects.read_s3(bucket, "logs/"))
        delivered = {number for number in ids if number >= first}
        errors = read_objects.read_s3(bucket, "errors/logs/")
        code = "DynamicPartitioning.ActivePartitionsLimitExceeded"
        failed = [record for one in errors for record in one.records if record["errorCode"] == code]
        return delivered, failed

    harness.wait_until(lambda: sum(map(len, seen())) >= len(events), 30, "not all have ended", service.process)
    service.stop()
    delivered, failed = seen()
    harness.check(len(delivered) + len(failed) == len(events), "the counts do not add up")
    harness.check({wanted_key(number) for number in delivered} < {wanted_key(one["id"]) for one in events}, "no limit")
    harness.check(len({wanted_key(number) for number in delivered}) == 4, "the limit is another")
    outputs = {record["outputIndex"] for record in failed}
    harness.check(len(outputs) == len(failed), "an output failed twice")


if __name__ == "__main__":
    harness.run("processors", test)
