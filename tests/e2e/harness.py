"""What the end-to-end programs share: the built binary, its configuration, its clients.

`cargo xtask test` gives HYDRANT_BIN and HYDRANT_TEST_S3_*. Every wait has a bound.
"""

import collections
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import boto3
import botocore.config

from readers import read_objects
from with_parent import end_with_parent

BINARY = os.environ.get("HYDRANT_BIN", "hydrant")
ROOT = pathlib.Path(__file__).resolve().parents[2]
REDACT = ROOT / "transforms" / "redact" / "redact.wasm"

START_SECONDS = 30
# The service itself gives up draining after 25 s.
STOP_SECONDS = 40
# With less, the service takes no records.
FREE_SHARE = 0.1


class Failed(Exception):
    """What was checked does not hold."""


def check(condition, message):
    """An assert that no option of the interpreter turns off."""
    if not condition:
        raise Failed(message)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def redact(fields, mode="replace"):
    """A processor that redacts these fields."""
    return {"wasm": {"module": str(REDACT), "config": {"fields": fields, "mode": mode}}}


def embedded(stream, **settings):
    """A source: an embedded stream from its beginning."""
    return {"kinesis": {"stream": stream, "endpoint": "embedded", "start": "trim_horizon", **settings}}


def to_s3(bucket, name, **settings):
    """A destination below the prefix `NAME/` of a bucket, its errors below `errors/NAME/`."""
    return {
        "s3": {
            "bucket": bucket,
            "endpoint": os.environ["HYDRANT_TEST_S3_ENDPOINT"],
            "region": "us-east-1",
            "prefix": name + "/!{timestamp:yyyy-MM-dd}/",
            "error_output_prefix": "errors/" + name + "/!{firehose:error-output-type}/",
            **settings,
        }
    }


class Hydrant:
    """One `hydrant run` in a folder of its own; started, ended and started again."""

    def __init__(self, folder, streams, delivery_streams, memory="512MiB", **more):
        self.memory, self.more = memory, more
        self.folder = pathlib.Path(folder)
        self.api, self.operations = free_port(), free_port()
        self.process = None
        # A file for the standard output alone; else it goes where the log goes.
        self.stdout = None
        self.configure(streams, delivery_streams)

    def configure(self, streams, delivery_streams):
        """Writes the configuration; JSON is YAML."""
        config = {
            "api": {"listen": f"127.0.0.1:{self.api}", "auth": "none"},
            "operations": {"listen": f"127.0.0.1:{self.operations}"},
            "data_dir": str(self.folder / "data"),
            "memory": self.memory,
            "streams": streams,
            "delivery_streams": delivery_streams,
            **self.more,
        }
        (self.folder / "hydrant.yaml").write_text(json.dumps(config, indent=2))

    def start(self, **environment):
        """Starts the service and waits until it is ready."""
        self.launch(**environment)
        wait_until(self.ready, START_SECONDS, "hydrant is not ready", self.process)

    def launch(self, **environment):
        """Starts the service and waits for nothing."""
        log = open(self.folder / "hydrant.log", "ab")
        stdout = open(self.stdout, "ab") if self.stdout else log
        with log, stdout:
            self.process = subprocess.Popen(
                [BINARY, "run", "hydrant.yaml"],
                cwd=self.folder,
                env={**service_environment(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=log,
                preexec_fn=end_with_parent,
            )

    def ready(self):
        try:
            url = f"http://127.0.0.1:{self.operations}/readyz"
            with urllib.request.urlopen(url, timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def page(self, path):
        """The text of an operations page."""
        url = f"http://127.0.0.1:{self.operations}{path}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().decode()

    def metrics(self):
        """Every sample of /metrics: its name with its labels, and its number."""
        lines = [line for line in self.page("/metrics").splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def stop(self):
        """SIGTERM; what it has read is delivered before it ends with 0."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_SECONDS)
        check(code == 0, f"hydrant ended with {code} after SIGTERM")

    def kill(self):
        """SIGKILL, and nothing else."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def client(self, service="kinesis"):
        """An unchanged AWS client; only the endpoint is ours. A failed call is not repeated."""
        return boto3.client(
            service,
            endpoint_url=f"http://127.0.0.1:{self.api}",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            region_name="us-east-1",
            config=botocore.config.Config(
                connect_timeout=2, read_timeout=20, retries={"total_max_attempts": 1}
            ),
        )

    def deliver_all(self, complete, rounds=6):
        """Starts and drains until `complete()`: a drain leaves what was not yet read to the next start."""
        for number in range(rounds):
            self.start()
            time.sleep(3 * 2**number)
            self.stop()
            if complete():
                return
        raise Failed(f"not everything was delivered after {rounds} starts")


def service_environment():
    """The environment of the service: credentials for the test's S3 and nothing that leaves."""
    return {
        **os.environ,
        "AWS_ACCESS_KEY_ID": os.environ["HYDRANT_TEST_S3_ACCESS_KEY"],
        "AWS_SECRET_ACCESS_KEY": os.environ["HYDRANT_TEST_S3_SECRET_KEY"],
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def wait_until(condition, seconds, message, process=None):
    """Polls; an error where `process` ends first or time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process is not None and process.poll() is not None:
            raise Failed(f"{message}: it ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise Failed(f"{message} after {seconds} s")
        time.sleep(0.05)


def new_bucket(name):
    """A bucket of this run."""
    bucket = f"e2e-{name}-{os.getpid()}"
    read_objects.s3_client().create_bucket(Bucket=bucket)
    return bucket


def count_ids(found, name="id"):
    """How often each id is in the records, error records aside."""
    return collections.Counter(
        record[name] for one in found if not one.is_error for record in one.records
    )


def once_each(counts, wanted, where):
    """Every wanted id once, and none twice, wanted or not."""
    twice = [one for one, count in counts.items() if count > 1]
    lost = [one for one in wanted if one not in counts]
    check(not twice, f"{where}: {len(twice)} records twice, as {twice[:3]}")
    check(not lost, f"{where}: {len(lost)} of {len(wanted)} records lost, as {lost[:3]}")


def put_all(client, stream, entries):
    """Puts (partition key, data, explicit hash key or None) in order, 500 a call or 4 MiB, and puts again
    what was throttled. Gives (shard, sequence number) per entry."""
    places, waiting = [None] * len(entries), list(range(len(entries)))
    taken_at = time.monotonic()
    while waiting:
        batch, size = [], 0
        while waiting and len(batch) < 500 and size < 4 << 20:
            batch.append(waiting.pop(0))
            size += len(entries[batch[-1]][1])
        answer = client.put_records(StreamName=stream, Records=[put_entry(entries[i]) for i in batch])
        again = []
        for index, result in zip(batch, answer["Records"], strict=True):
            if "ErrorCode" in result:
                again.append(index)
            else:
                places[index] = (result["ShardId"], int(result["SequenceNumber"]))
        check(len(again) == answer["FailedRecordCount"], "FailedRecordCount is not what failed")
        if len(again) < len(batch):
            taken_at = time.monotonic()
        check(time.monotonic() < taken_at + 60, "all puts were throttled for a minute")
        if again:
            waiting = again + waiting
            time.sleep(0.1)
    return places


def put_entry(entry):
    key, data, explicit = entry
    record = {"PartitionKey": key, "Data": data}
    if explicit is not None:
        record["ExplicitHashKey"] = str(explicit)
    return record


def read_stream(client, stream):
    """Every record of every shard from its beginning, by shard, in order."""
    shards = {}
    for shard in client.list_shards(StreamName=stream)["Shards"]:
        name, got = shard["ShardId"], []
        iterator = client.get_shard_iterator(
            StreamName=stream, ShardId=name, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        deadline = time.monotonic() + 60
        while iterator:
            answer = client.get_records(ShardIterator=iterator, Limit=10_000)
            got += answer["Records"]
            iterator = answer.get("NextShardIterator")
            if not answer["Records"] and answer["MillisBehindLatest"] == 0:
                break
            check(time.monotonic() < deadline, f"shard {name} has no end")
        shards[name] = got
    return shards


@contextlib.contextmanager
def workspace():
    """A temporary folder; kept, and the service's last words printed, where the test fails."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hydrant-e2e-"))
    disk = shutil.disk_usage(folder)
    check(disk.free > disk.total * FREE_SHARE, f"{disk.free >> 30} GiB of the disk are free: puts would be refused")
    try:
        yield folder
    except BaseException:
        log = folder / "hydrant.log"
        if log.exists():
            tail = log.read_text(errors="replace").splitlines()[-40:]
            print("\n".join(["hydrant's last words:", *tail]), file=sys.stderr)
        print(f"kept: {folder}", file=sys.stderr)
        raise
    shutil.rmtree(folder)


def run(name, test):
    """Runs a test; prints `NAME: ok`, or why not, and ends with the code for it."""
    try:
        with workspace() as folder:
            test(folder)
    except Failed as error:
        print(f"{name}: FAILED: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"{name}: ok", flush=True)
