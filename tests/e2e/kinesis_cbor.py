"""Calls of Kinesis in CBOR over plain HTTP, encoded and decoded by cbor2: what the Java SDKs send.

Moments are tag 1 on whole milliseconds in both directions, which is not what RFC 8949 means by it, so the
library's own decoding of that tag is replaced.
"""

import time
import urllib.error
import urllib.request

import cbor2

import harness

CONTENT_TYPE = "application/x-amz-cbor-1.1"
STREAM = "made-in-cbor"
SHARD = "shardId-000000000000"


class Moment(int):
    """Milliseconds since the epoch under tag 1."""


def moment(number, _):
    """What cbor2 calls with the value below the tag."""
    harness.check(type(number) is int, f"a moment is {number!r}")
    return Moment(number)


def send(port, operation, body):
    """Status, error type and answer of a call whose body is encoded already; None where there is no answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/",
        data=body,
        headers={"Content-Type": CONTENT_TYPE, "X-Amz-Target": f"Kinesis_20131202.{operation}"},
    )
    try:
        answer = urllib.request.urlopen(request, timeout=20)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        found = answer.headers["Content-Type"]
        harness.check(found == CONTENT_TYPE, f"{operation} answers as {found}")
        content, kind = answer.read(), answer.headers["x-amzn-ErrorType"]
        decoded = cbor2.loads(content, semantic_decoders={1: moment}) if content else None
        return answer.status, kind, decoded


def call(port, operation, **members):
    """The answer of a call that succeeds."""
    status, _, answer = send(port, operation, cbor2.dumps(members))
    harness.check(status == 200, f"{operation}: {status}, {answer}")
    return answer


def at(milliseconds):
    return cbor2.CBORTag(1, milliseconds)


def chunked(data):
    """A text or byte string in chunks of two."""
    begin = b"\x7f" if isinstance(data, str) else b"\x5f"
    chunks = [cbor2.dumps(data[start : start + 2]) for start in range(0, len(data), 2)]
    return begin + b"".join(chunks) + b"\xff"


def open_map(*members):
    """A map of no announced length, of what is encoded already."""
    return b"\xbf" + b"".join(members) + b"\xff"


def records(first, count):
    """Data of which much is no text."""
    return [
        {"Data": bytes((first + number + step) % 256 for step in range(number)), "PartitionKey": f"kéy-{number}"}
        for number in range(count)
    ]


def read(port, **start):
    iterator = call(port, "GetShardIterator", StreamName=STREAM, ShardId=SHARD, **start)["ShardIterator"]
    answer = call(port, "GetRecords", ShardIterator=iterator)
    harness.check(answer["MillisBehindLatest"] == 0, f"{answer['MillisBehindLatest']} ms behind")
    harness.check(isinstance(answer["NextShardIterator"], str), "no next iterator")
    return answer["Records"]


def put(port, batch):
    answer = call(port, "PutRecords", StreamName=STREAM, Records=batch)
    harness.check(answer["FailedRecordCount"] == 0, f"{answer['FailedRecordCount']} records failed")
    return answer["Records"]


def put_in_chunks(port, data, key):
    """One record, with no length announced anywhere."""
    record = open_map(chunked("Data"), chunked(data), cbor2.dumps("PartitionKey"), chunked(key))
    body = open_map(
        chunked("StreamName"), chunked(STREAM), cbor2.dumps("Records"), b"\x9f" + record + b"\xff"
    )
    status, _, answer = send(port, "PutRecords", body)
    harness.check(status == 200, f"a put in chunks: {status}, {answer}")
    return answer["Records"]


def refused(port):
    """Errors are CBOR, too."""
    status, kind, answer = send(port, "DescribeStream", cbor2.dumps({"StreamName": "absent"}))
    harness.check((status, kind) == (400, "ResourceNotFoundException"), f"{status} {kind}")
    wanted = {"__type": kind, "message": "Stream absent under account 000000000000 not found."}
    harness.check(answer == wanted, f"an absent stream is {answer}")
    whole = cbor2.dumps({"StreamName": STREAM, "Data": b"x", "PartitionKey": "k"})
    for length in range(len(whole)):
        status, kind, _ = send(port, "PutRecord", whole[:length])
        harness.check((status, kind) == (400, "SerializationException"), f"{length} bytes: {status} {kind}")


def put_and_read_back(port, client):
    """A stream that is made, filled, read and described in CBOR; `client` sees the same in JSON."""
    before = int(time.time() * 1000)
    harness.check(call(port, "CreateStream", StreamName=STREAM, ShardCount=1) is None, "an answer to CreateStream")
    first, second = records(0, 300), records(77, 200)
    places = put(port, first)
    time.sleep(0.05)
    places += put(port, second) + put_in_chunks(port, b"\x00\xff\xfe", "chunked")
    wanted = [*first, *second, {"Data": b"\x00\xff\xfe", "PartitionKey": "chunked"}]

    got = read(port, ShardIteratorType="TRIM_HORIZON")
    harness.check(len(got) == len(wanted), f"{len(got)} of {len(wanted)} records")
    for one, record, place in zip(got, wanted, places, strict=True):
        arrived = one.pop("ApproximateArrivalTimestamp")
        harness.check(isinstance(arrived, Moment), f"arrived at {arrived!r}")
        harness.check(before <= arrived <= time.time() * 1000, f"arrived at {arrived}, not after {before}")
        one["arrived"] = int(arrived)
        same = {**record, "SequenceNumber": place["SequenceNumber"], "arrived": int(arrived)}
        harness.check(one == same, f"{one} is not {same}")
    of_second = got[len(first)]["arrived"]
    harness.check(got[len(first) - 1]["arrived"] < of_second, "both puts arrived at once")
    later = read(port, ShardIteratorType="AT_TIMESTAMP", Timestamp=at(of_second))
    harness.check([one["Data"] for one in later] == [one["Data"] for one in wanted[len(first) :]], "not the second put")

    (in_json,) = harness.read_stream(client, STREAM).values()
    in_json, in_cbor = ([(one["SequenceNumber"], one["Data"]) for one in read] for read in (in_json, got))
    harness.check(in_json == in_cbor, "JSON gives other records than CBOR")
    described(port, client, before)
    refused(port)
    harness.check(call(port, "DeleteStream", StreamName=STREAM) is None, "an answer to DeleteStream")


def described(port, client, before):
    summary = call(port, "DescribeStreamSummary", StreamName=STREAM)["StreamDescriptionSummary"]
    created = summary["StreamCreationTimestamp"]
    harness.check(isinstance(created, Moment), f"created at {created!r}")
    harness.check(before <= created <= time.time() * 1000, f"created at {created}, not after {before}")
    harness.check(summary["OpenShardCount"] == 1, f"{summary['OpenShardCount']} shards")
    wanted = client.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]
    wanted["StreamCreationTimestamp"] = round(wanted["StreamCreationTimestamp"].timestamp() * 1000)
    harness.check(summary == wanted, f"in CBOR {summary}, in JSON {wanted}")
