"""The KPL's aggregate of several user records in one Kinesis record, written by hand.

Magic, the protobuf `AggregatedRecord { repeated string partition_key_table = 1; repeated Record
records = 3 }` with `Record { uint64 partition_key_index = 1; bytes data = 3 }`, and its MD5.
Source: the format page in the repository of the Kinesis Producer Library.
"""

import hashlib

MAGIC = b"\xf3\x89\x9a\xc2"


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, content):
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def aggregate(records):
    """The bytes of one aggregate of (partition key, data) pairs."""
    keys = list(dict.fromkeys(key for key, _ in records))
    message = b"".join(field(1, key.encode()) for key in keys)
    for key, data in records:
        message += field(3, b"\x08" + varint(keys.index(key)) + field(3, data))
    return MAGIC + message + hashlib.md5(message).digest()


def hash_key(partition_key):
    """Where a partition key lies in the hash ranges of the shards."""
    return int.from_bytes(hashlib.md5(partition_key.encode()).digest(), "big")


def aggregates_by_shard(records, shards, most):
    """Entries for `harness.put_all` of (partition key, data) pairs: aggregates of up to `most` records
    that belong to one shard, each as soon as it is full."""
    gathered = {shard["ShardId"]: [] for shard in shards}
    for key, data in records:
        for shard in shards:
            ends = shard["HashKeyRange"]
            if int(ends["StartingHashKey"]) <= hash_key(key) <= int(ends["EndingHashKey"]):
                gathered[shard["ShardId"]].append((key, data))
        for waiting in gathered.values():
            if len(waiting) == most:
                yield wrapped(waiting)
                waiting.clear()
    yield from (wrapped(waiting) for waiting in gathered.values() if waiting)


def wrapped(records):
    return "a", aggregate(records), hash_key(records[0][0])


VECTOR = "f3899ac20a01610a01621a0708001a036f6e651a0708011a0374776f7896626e4b54750e07fcfeb458e8a37e"
assert aggregate([("a", b"one"), ("b", b"two")]).hex() == VECTOR, "the encoder lost its test vector"
