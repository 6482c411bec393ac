"""`hydrant demo`: what went in, plus what was added, is what was delivered, dropped and failed, by
what other software finds in the objects."""

import json
import subprocess

import harness
from readers import read_objects

RECORDS = 20_000


def test(folder):
    done = subprocess.run(
        [harness.BINARY, "demo", "--dir", "d", "--records", str(RECORDS)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=150,
        check=False,
    )
    (folder / "hydrant.log").write_bytes(done.stderr + done.stdout)
    harness.check(done.returncode == 0, f"the demo ended with {done.returncode}")

    manifest = json.loads((folder / "d" / "input.json").read_text())
    harness.check(manifest["records"] == RECORDS, f"{manifest['records']} records in the manifest")
    expected = manifest["expected"]
    found = read_objects.read_folder(folder / "d" / "objects")
    events = {}
    for name in ("parquet", "gzip"):
        own = [one for one in found if one.key.split("/")[0] == name]
        check_balance(name, own, manifest["records"], expected)
        events[name] = by_id(own)
    check_same(events["parquet"], events["gzip"])


def check_balance(name, objects, records, expected):
    good = [one for one in objects if not one.is_error]
    harness.check({one.container for one in good} == {name}, f"{name}: other containers among the objects")
    ids = harness.count_ids(objects, "event_id")
    delivered = sum(ids.values())
    harness.check(len(ids) == delivered, f"{name}: {delivered - len(ids)} events twice")
    failed = sum(len(one.records) for one in objects if one.is_error)
    harness.check(delivered == expected["outputs"], f"{name}: {delivered} events, {expected['outputs']} expected")
    harness.check(failed == expected["failed"], f"{name}: {failed} failed, {expected['failed']} expected")
    added = expected["added"]
    dropped = expected["dropped"]
    harness.check(
        records + added == delivered + dropped + failed,
        f"{name}: {records} in + {added} added is not {delivered} + {dropped} dropped + {failed} failed",
    )


def by_id(objects):
    return {record["event_id"]: record for one in objects if not one.is_error for record in one.records}


def check_same(columns, lines):
    """Both destinations hold the same events, redacted."""
    harness.check(columns.keys() == lines.keys(), "Parquet and GZIP hold different events")
    for one, event in lines.items():
        row = columns[one]
        for name in ("type", "session"):
            harness.check(row[name] == event.get(name), f"{name} of {one} differs")
        for user in (row["user"], event["user"]):
            for name in ("email", "ip"):
                harness.check(user[name] == "[redacted]", f"{name} of {one} is not redacted")


if __name__ == "__main__":
    harness.run("demo", test)
