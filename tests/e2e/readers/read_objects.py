"""Reads every object below a folder or an S3 prefix with software that is not hydrant's.

    read_objects.py FOLDER
    read_objects.py s3://BUCKET/PREFIX     endpoint and keys from HYDRANT_TEST_S3_*

Prints one JSON summary: records, error records, and per object its container and count.
As a module: `read_folder` and `read_s3` give `Found` objects with their records.

Containers, told apart by their first bytes and not by name: Parquet (pyarrow and DuckDB, which must
agree), GZIP (one member; `gzip -t`), ZIP (one entry; `unzip -t`), zstd, the xerial stream of
snappy-java, the block stream of Hadoop's SnappyCodec, and plain bytes. All but Parquet hold one JSON
object a line. An object is an error object if its key has a folder `errors`.
"""

import base64
import dataclasses
import datetime
import decimal
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib

import boto3
import cramjam
import duckdb
import pyarrow.parquet
import zstandard

XERIAL = b"\x82SNAPPY\x00"


class Unreadable(Exception):
    """An object is not what its container asks for."""


@dataclasses.dataclass
class Found:
    """One object: where it was, what it is, and what it holds."""

    key: str
    container: str
    size_bytes: int
    records: list
    is_error: bool


def read_folder(folder):
    """Every object below `folder`, ordered by name; names that begin with a dot are not objects."""
    found = []
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            path = os.path.join(at, name)
            with open(path, "rb") as file:
                found.append(read_object(os.path.relpath(path, folder), file.read()))
    return found


def s3_client():
    """A client of the S3 server that the tests run with."""
    return boto3.client(
        "s3",
        endpoint_url=os.environ["HYDRANT_TEST_S3_ENDPOINT"],
        aws_access_key_id=os.environ["HYDRANT_TEST_S3_ACCESS_KEY"],
        aws_secret_access_key=os.environ["HYDRANT_TEST_S3_SECRET_KEY"],
        region_name="us-east-1",
    )


def read_s3(bucket, prefix=""):
    """Every object of `bucket` whose key begins with `prefix`; names that begin with a dot are not objects."""
    client, found = s3_client(), []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            if any(name.startswith(".") for name in entry["Key"].split("/")):
                # A probe, which may be gone already.
                continue
            body = client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            if len(body) != entry["Size"]:
                raise Unreadable(f"{entry['Key']}: {len(body)} bytes, listed as {entry['Size']}")
            found.append(read_object(entry["Key"], body))
    return found


def read_object(key, body):
    """Reads one object of any container."""
    try:
        container, records = decode(body)
    except Unreadable as error:
        raise Unreadable(f"{key}: {error}") from None
    is_error = "errors" in key.split("/")[:-1]
    if is_error:
        records = [error_record(key, record) for record in records]
    return Found(key, container, len(body), records, is_error)


def decode(body):
    """The name of the container and the records in it."""
    if body.startswith(b"PAR1"):
        return "parquet", parquet(body)
    if body.startswith(b"\x1f\x8b"):
        return "gzip", lines(gzip(body))
    if body.startswith(b"PK\x03\x04"):
        return "zip", lines(zip_entry(body))
    if body.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd", lines(zstd(body))
    if body.startswith(XERIAL):
        return "snappy", lines(xerial(body))
    if body.startswith(b"{") or not body:
        return "none", lines(body)
    return "hadoop_snappy", lines(hadoop(body))


def lines(text):
    """JSON objects, one a line, each line ended."""
    if text and not text.endswith(b"\n"):
        raise Unreadable("the last line has no end")
    records = []
    for number, line in enumerate(text.split(b"\n")[:-1], 1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise Unreadable(f"line {number} is not JSON: {error}") from None
    return records


def gzip(body):
    """The content of exactly one member with nothing behind it, after `gzip -t` had no objection."""
    tested = subprocess.run(["gzip", "-t"], input=body, capture_output=True, check=False)
    if tested.returncode:
        raise Unreadable(f"gzip -t: {tested.stderr.decode(errors='replace').strip()}")
    member = zlib.decompressobj(wbits=31)
    text = member.decompress(body)
    if not member.eof:
        raise Unreadable("the gzip member has no end")
    if member.unused_data:
        raise Unreadable(f"{len(member.unused_data)} bytes behind the first gzip member")
    return text


def zip_entry(body):
    """The content of the archive's only entry, after `unzip -t` had no objection."""
    with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        file.write(body)
        file.flush()
        tested = subprocess.run(["unzip", "-tqq", file.name], capture_output=True, check=False)
    if tested.returncode:
        raise Unreadable(f"unzip -t: {tested.stdout.decode(errors='replace').strip()}")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        names = archive.namelist()
        if len(names) != 1:
            raise Unreadable(f"{len(names)} entries in the archive")
        return archive.read(names[0])


def zstd(body):
    """The content of exactly one frame."""
    frame = zstandard.ZstdDecompressor().decompressobj()
    try:
        text = frame.decompress(body)
    except zstandard.ZstdError as error:
        raise Unreadable(f"zstd: {error}") from None
    if not frame.eof or frame.unused_data:
        raise Unreadable("not exactly one zstd frame")
    return text


def xerial(body):
    """snappy-java: magic, version and least version (big-endian), then blocks with their length."""
    version, least = struct.unpack_from(">ii", body, len(XERIAL))
    if version < 1 or least < 1:
        raise Unreadable(f"xerial version {version}, least {least}")
    view, parts = Reader(body, len(XERIAL) + 8), []
    while view.left():
        parts.append(raw_snappy(view.sized()))
    return b"".join(parts)


def hadoop(body):
    """Hadoop's blocks: the plain length of a block, then chunks with their length until it is full."""
    view, parts = Reader(body, 0), []
    while view.left():
        plain, got = view.u32(), 0
        while got < plain:
            part = raw_snappy(view.sized())
            got += len(part)
            parts.append(part)
        if got != plain:
            raise Unreadable(f"a block holds {got} bytes and says {plain}")
    return b"".join(parts)


class Reader:
    """A position in bytes that may not pass their end."""

    def __init__(self, body, at):
        self.body, self.at = body, at

    def left(self):
        return len(self.body) - self.at

    def take(self, count):
        if count > self.left():
            raise Unreadable(f"{count} bytes wanted at {self.at}, {self.left()} left")
        self.at += count
        return self.body[self.at - count : self.at]

    def u32(self):
        return struct.unpack(">I", self.take(4))[0]

    def sized(self):
        return self.take(self.u32())


def raw_snappy(chunk):
    try:
        return bytes(cramjam.snappy.decompress_raw(chunk))
    except cramjam.DecompressionError as error:
        raise Unreadable(f"snappy: {error}") from None


def parquet(body):
    """Rows by column name, once pyarrow and DuckDB have read the same."""
    ours = pyarrow.parquet.read_table(io.BytesIO(body)).to_pylist()
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        file.write(body)
        file.flush()
        with duckdb.connect() as database:
            rows = database.sql("SELECT * FROM read_parquet(?)", params=[file.name])
            theirs = rows.to_arrow_table().to_pylist()
    if len(ours) != len(theirs):
        raise Unreadable(f"pyarrow reads {len(ours)} rows, DuckDB {len(theirs)}")
    for number, (one, other) in enumerate(zip(ours, theirs)):
        if plain(one) != plain(other):
            raise Unreadable(f"row {number} differs between pyarrow and DuckDB")
    return ours


def plain(value):
    """A value in the one form that both readers can be compared in."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime.datetime):
        utc = value.replace(tzinfo=value.tzinfo or datetime.timezone.utc)
        return utc.astimezone(datetime.timezone.utc).isoformat()
    if isinstance(value, (datetime.date, datetime.time, decimal.Decimal)):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    return value


def error_record(key, record):
    """Checks what every line of an error object has, and adds the input under `input`."""
    for name in ("attemptsMade", "arrivalTimestamp", "attemptEndingTimestamp"):
        if not isinstance(record.get(name), int):
            raise Unreadable(f"{key}: an error record has no number {name}")
    if not (record.get("errorCode") or record.get("lastErrorCode")):
        raise Unreadable(f"{key}: an error record has no error code")
    record["input"] = base64.b64decode(record["rawData"], validate=True)
    return record


def summary(found):
    """What a person or a test wants to know at a glance."""
    return {
        "records": sum(len(one.records) for one in found if not one.is_error),
        "error_records": sum(len(one.records) for one in found if one.is_error),
        "objects": len(found),
        "by_file": {
            one.key: {
                "container": one.container,
                "bytes": one.size_bytes,
                "records": len(one.records),
                "error": one.is_error,
            }
            for one in found
        },
    }


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    place = arguments[0]
    try:
        if place.startswith("s3://"):
            bucket, _, prefix = place.removeprefix("s3://").partition("/")
            found = read_s3(bucket, prefix)
        else:
            found = read_folder(place)
    except Unreadable as error:
        print(f"unreadable: {error}", file=sys.stderr)
        return 1
    print(json.dumps(summary(found), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
