"""The readers themselves: each container is read, and what is wrong with one is seen."""

import datetime
import gzip
import io
import json
import struct
import sys
import zipfile

import cramjam
import pyarrow
import pyarrow.parquet
import zstandard

from readers import read_objects

RECORDS = [{"id": number, "text": "é" * number} for number in range(500)]
TEXT = b"".join(json.dumps(record).encode() + b"\n" for record in RECORDS)


def snappy(data):
    chunk = bytes(cramjam.snappy.compress_raw(data))
    return struct.pack(">I", len(chunk)) + chunk


def archive(names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as entries:
        for name in names:
            entries.writestr(name, TEXT)
    return file.getvalue()


def parquet():
    file = io.BytesIO()
    when = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000)
    rows = [dict(record, at=when, many=[1, 2], inner={"a": None}) for record in RECORDS]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


def good():
    half = len(TEXT) // 2
    return {
        "none": TEXT,
        "gzip": gzip.compress(TEXT),
        "zip": archive(["one"]),
        "zstd": zstandard.ZstdCompressor().compress(TEXT),
        "snappy": read_objects.XERIAL + struct.pack(">ii", 1, 1) + snappy(TEXT[:half]) + snappy(TEXT[half:]),
        "hadoop_snappy": struct.pack(">I", len(TEXT)) + snappy(TEXT[:half]) + snappy(TEXT[half:]),
    }


def refused(body):
    try:
        read_objects.read_object("key", body)
    except read_objects.Unreadable:
        return True
    return False


def main():
    bodies = good()
    for name, body in bodies.items():
        found = read_objects.read_object("a/b", body)
        assert (found.container, found.records) == (name, RECORDS), name
        if name != "none":
            assert refused(body[:-7]), f"{name}: a cut object was read"
    assert refused(bodies["gzip"] + bodies["gzip"]), "two gzip members were read as one object"
    assert refused(bodies["zstd"] + bodies["zstd"]), "two zstd frames were read as one object"
    assert refused(archive(["one", "two"])), "two entries were read as one object"
    assert refused(TEXT[:-1]), "a line without an end was read"

    found = read_objects.read_object("a/b", parquet())
    assert found.container == "parquet" and len(found.records) == len(RECORDS)
    assert [row["id"] for row in found.records] == [record["id"] for record in RECORDS]

    failed = {"attemptsMade": 1, "arrivalTimestamp": 1, "attemptEndingTimestamp": 2, "errorCode": "X", "rawData": "aGk="}
    found = read_objects.read_object("errors/x/y", json.dumps(failed).encode() + b"\n")
    assert found.is_error and found.records[0]["input"] == b"hi"
    print("reading: ok")


if __name__ == "__main__":
    sys.exit(main())
