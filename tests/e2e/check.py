"""`hydrant check` reports every fault of a configuration with its file, line, path and remedy, and ends
with 2; a good configuration ends with 0. With `--live` it does so for what it is refused at `data_dir` and
at the destinations, and leaves nothing behind."""

import os
import subprocess

import harness
from fault_proxy import FaultProxy
from readers import read_objects

GOOD = """\
data_dir: ./data
streams:
  clicks: { shards: 2, retention: 24h }
delivery_streams:
  archive:
    source:
      kinesis: { stream: clicks, endpoint: embedded, start: trim_horizon }
    destination:
      directory: { path: ./archive, compression: gzip, buffering_hints: { size: 5MiB, interval: 10s } }
"""

# Name, what is changed in GOOD, and the faults: line, path, and a word of the remedy.
CASES = [
    (
        "an unknown field",
        [("retention: 24h", "retension: 24h")],
        [(3, "streams.clicks", "retention")],
    ),
    (
        "a size that is none",
        [("size: 5MiB", "size: 5 bananas")],
        [(9, "delivery_streams.archive.destination.directory.buffering_hints.size", "MiB")],
    ),
    (
        "a source that is none",
        [("kinesis: {", "kinesys: {")],
        [(7, "delivery_streams.archive.source", "kinesis")],
    ),
    (
        "a compression that is not known",
        [("compression: gzip", "compression: rar")],
        [(9, "delivery_streams.archive.destination.directory.compression", "gzip")],
    ),
    (
        "a module that is not there",
        [("    destination:", "    processors:\n      - wasm: { module: nowhere.wasm }\n    destination:")],
        [(9, "delivery_streams.archive.processors[0].wasm.module", "nowhere.wasm")],
    ),
    (
        "no authentication off loopback",
        [("data_dir:", "api: { listen: 0.0.0.0:4567, auth: none }\ndata_dir:")],
        [(1, "api.listen", "127.0.0.1")],
    ),
    (
        "a variable without a value",
        [("path: ./archive", 'path: "${HYDRANT_E2E_NOT_SET}"')],
        [(9, "delivery_streams.archive.destination.directory.path", "HYDRANT_E2E_NOT_SET")],
    ),
    (
        "a bad expression in a prefix",
        [("compression: gzip,", 'prefix: "a/!{timestamp:yyyy}/!{nonsense}/",')],
        [
            (9, "delivery_streams.archive.destination.directory.prefix", "nonsense"),
            (9, "delivery_streams.archive.destination.directory.error_output_prefix", "errors/"),
        ],
    ),
    (
        "a module that is no component",
        [("    destination:", "    processors:\n      - wasm: { module: text.wasm }\n    destination:")],
        [(9, "delivery_streams.archive.processors[0].wasm.module", "component")],
    ),
    (
        "a module of the wrong world",
        [("    destination:", "    processors:\n      - wasm: { module: empty.wasm }\n    destination:")],
        [(9, "delivery_streams.archive.processors[0].wasm.module", "hydrant:transform")],
    ),
    (
        "a type that no schema has",
        [
            (
                "compression: gzip,",
                "format_conversion: { output: { parquet: {} }, schema: { columns: [ { name: a, type: strin } ] } },",
            )
        ],
        [(9, "delivery_streams.archive.destination.directory.format_conversion.schema.columns[0].type", "strin")],
    ),
    (
        "a size out of range",
        [("size: 5MiB", "size: 1KiB")],
        [(9, "delivery_streams.archive.destination.directory.buffering_hints.size", "64KiB")],
    ),
    (
        "two streams with one name",
        [("delivery_streams:", "  clicks: { shards: 1 }\ndelivery_streams:")],
        [(4, "streams.clicks", "twice")],
    ),
    (
        "a secret that cannot be read",
        [
            (
                "directory: { path: ./archive, compression: gzip,",
                "s3: { bucket: lake, region: us-east-1, credentials: { access_key_id: any, "
                "secret_access_key: { file: ./nowhere } },",
            )
        ],
        [(9, "delivery_streams.archive.destination.s3.credentials.secret_access_key", "nowhere")],
    ),
    (
        "no destination",
        [
            (
                "directory: { path: ./archive, compression: gzip, buffering_hints: { size: 5MiB, interval: 10s } }",
                "{}",
            )
        ],
        [(8, "delivery_streams.archive.destination", "directory")],
    ),
    (
        "several at once",
        [("shards: 2", "shards: 0"), ("size: 5MiB", "size: many"), ("data_dir:", "data_dri:")],
        [
            (1, "data_dri", "data_dir"),
            (3, "streams.clicks.shards", "1"),
            (9, "delivery_streams.archive.destination.directory.buffering_hints.size", "MiB"),
        ],
    ),
]


S3 = """\
data_dir: ./data
streams: { clicks: { shards: 1 } }
delivery_streams:
  lake:
    source: { kinesis: { stream: clicks } }
    destination:
      s3:
        bucket: BUCKET
        region: us-east-1
        endpoint: ENDPOINT
        prefix: "lake/!{timestamp:yyyy}/"
        error_output_prefix: "errors/!{firehose:error-output-type}/"
        credentials: { access_key_id: "${HYDRANT_TEST_S3_ACCESS_KEY}", secret_access_key: "${SECRET}" }
"""
AT = "delivery_streams.lake.destination.s3"

# What the proxy refuses, by method and a part of the path, and the permission that is to be named.
PERMISSIONS = [
    ("PUT", "/lake/.hydrant-probe/", "s3:PutObject"),
    ("POST", "?uploads", "s3:PutObject"),
    ("HEAD", "-absent", "s3:ListBucket"),
    ("HEAD", "/lake/.hydrant-probe/", "s3:GetObject"),
    ("DELETE", "uploadId=", "s3:AbortMultipartUpload"),
    ("DELETE", "/lake/.hydrant-probe/", "s3:DeleteObject"),
]


def run_check(folder, text, *options):
    (folder / "hydrant.yaml").write_text(text)
    done = subprocess.run(
        [harness.BINARY, "check", "hydrant.yaml", *options],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout.decode()


def faults_of(folder, said):
    # The file is named in full.
    said = said.replace(f"{folder.resolve()}/", "")
    return [line for line in said.splitlines() if line.startswith("hydrant.yaml:")]


def check_live(folder):
    code, said = run_check(folder, GOOD, "--live")
    harness.check(code == 0, f"a good configuration ends with {code}: {said}")
    left = sorted(one.name for one in folder.iterdir())
    harness.check("data" not in left and "archive" not in left, f"the check left {left}")
    (folder / "archive").write_text("a file where a folder is to be")
    code, said = run_check(folder, GOOD.replace("./data", "/proc/hydrant"), "--live")
    faults = faults_of(folder, said)
    harness.check(code == 2 and len(faults) == 2, f"unwritable folders: {code}: {said}")
    harness.check(faults[0].startswith("hydrant.yaml:1: data_dir: "), f"unwritable data_dir: {said}")
    at = "hydrant.yaml:9: delivery_streams.archive.destination.directory.path: "
    harness.check(faults[1].startswith(at), f"unwritable folder: {said}")
    (folder / "archive").unlink()

    bucket, endpoint = harness.new_bucket("check"), os.environ["HYDRANT_TEST_S3_ENDPOINT"]
    secret = os.environ["HYDRANT_TEST_S3_SECRET_KEY"]

    def live(bucket, endpoint, secret):
        text = S3.replace("BUCKET", bucket).replace("ENDPOINT", endpoint).replace("${SECRET}", secret)
        return run_check(folder, text, "--live")

    code, said = live(bucket, endpoint, secret)
    harness.check(code == 0 and "lifecycle" in said, f"a good bucket ends with {code}: {said}")
    for name, (code, said), line, path, word in [
        ("wrong keys", live(bucket, endpoint, "wrong"), 13, ".credentials", "SignatureDoesNotMatch"),
        ("a missing bucket", live("nowhere-at-all", endpoint, secret), 8, ".bucket", "make the bucket"),
        ("no server", live(bucket, "http://127.0.0.1:9", secret), 10, ".endpoint", "runs"),
    ]:
        faults = faults_of(folder, said)
        harness.check(code == 2 and len(faults) == 1, f"{name}: ended with {code}: {said}")
        place = f"hydrant.yaml:{line}: {AT}{path}: "
        harness.check(faults[0].startswith(place) and word in faults[0], f"{name}: `{place}`, `{word}`: {said}")
    with FaultProxy(endpoint) as proxy:
        for method, part, action in PERMISSIONS:
            proxy.plan = lambda got, path, m=method, p=part: "403" if got == m and p in path else "ok"
            code, said = live(bucket, proxy.endpoint, secret)
            faults = faults_of(folder, said)
            harness.check(code == 2, f"{action}: ended with {code}: {said}")
            named = [fault for fault in faults if f"allow {action} on arn:aws:s3:::{bucket}" in fault]
            harness.check(len(named) == 1, f"{action} is not named once: {said}")
            harness.check(named[0].startswith(f"hydrant.yaml:8: {AT}.bucket: "), f"{action}: {named[0]}")
        # Nothing is lost without it, so it is a note.
        proxy.plan = lambda got, path: "403" if got == "GET" and "uploads" in path else "ok"
        code, said = live(bucket, proxy.endpoint, secret)
        named = "allow s3:ListBucketMultipartUploads" in " ".join(said.split())
        harness.check(code == 0 and named, f"listing uploads: ended with {code}: {said}")
        proxy.always("ok")
        # What could not be removed while it was refused is not the check's to remove later.
        code, said = live(bucket, proxy.endpoint, secret)
        harness.check(code == 0, f"the bucket is good again, and yet: {said}")
    client = read_objects.s3_client()
    for entry in client.list_objects_v2(Bucket=bucket).get("Contents", []):
        harness.check(".hydrant-probe/check-" in entry["Key"], f"the check left {entry['Key']}")


REMOTE = """\
delivery_streams:
  copy:
    source: { kinesis: { stream: STREAM, endpoint: "ENDPOINT", credentials: { access_key_id: a, secret_access_key: b } } }
    destination: { directory: { path: ./archive } }
"""


def check_live_source(folder):
    """Another hydrant serves the stream that is to be read."""
    (folder / "upstream").mkdir()
    upstream = harness.Hydrant(folder / "upstream", {"clicks": {"shards": 2}}, {})
    upstream.start()
    endpoint = f"http://127.0.0.1:{upstream.api}"
    for name, stream, server, found in [
        ("a stream that is there", "clicks", endpoint, None),
        ("a stream that is not", "nowhere", endpoint, ("stream", "make the stream `nowhere`")),
        ("no server", "clicks", "http://127.0.0.1:9", ("endpoint", "see that the server runs")),
    ]:
        text = REMOTE.replace("STREAM", stream).replace("ENDPOINT", server)
        code, said = run_check(folder, text, "--live")
        faults = faults_of(folder, said)
        if found is None:
            harness.check(code == 0, f"{name}: ended with {code}: {said}")
            continue
        setting, remedy = found
        place = f"hydrant.yaml:3: delivery_streams.copy.source.kinesis.{setting}: "
        harness.check(code == 2 and len(faults) == 1, f"{name}: ended with {code}: {said}")
        harness.check(faults[0].startswith(place) and remedy in faults[0], f"{name}: {said}")
    upstream.stop()


def test(folder):
    (folder / "text.wasm").write_text("no module")
    # The shortest component there is: it exports nothing.
    (folder / "empty.wasm").write_bytes(b"\0asm\x0d\0\1\0")
    code, said = run_check(folder, GOOD)
    harness.check(code == 0, f"a good configuration ends with {code}: {said}")
    for name, changes, faults in CASES:
        text = GOOD
        for old, new in changes:
            harness.check(old in text, f"{name}: `{old}` is not in the text")
            text = text.replace(old, new)
        code, said = run_check(folder, text)
        harness.check(code == 2, f"{name}: ended with {code}: {said}")
        reported = faults_of(folder, said)
        harness.check(len(reported) == len(faults), f"{name}: {len(faults)} faults wanted, got: {said}")
        for line, (number, path, remedy) in zip(reported, faults, strict=True):
            place = f"hydrant.yaml:{number}: {path}"
            harness.check(line.startswith(place), f"{name}: `{place}` does not begin: {line}")
            harness.check(remedy in line.removeprefix(place), f"{name}: `{remedy}` is not in: {line}")
    code, said = run_check(folder, "streams: [")
    harness.check(code == 2 and "hydrant.yaml:1" in said, f"text that is no YAML ended with {code}: {said}")
    check_live(folder)
    check_live_source(folder)


if __name__ == "__main__":
    harness.run("check", test)
