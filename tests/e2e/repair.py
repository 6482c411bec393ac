"""A damaged log is refused with its place; `hydrant log repair` says what is lost, and makes the log
open again without exactly that."""

import json
import re
import subprocess

import harness

RECORDS = 3000


def command(folder, *arguments):
    """Runs `hydrant` in the folder; gives the exit code and what it said."""
    done = subprocess.run(
        [harness.BINARY, *arguments], cwd=folder, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


def damage(path):
    """Spoils one byte of a record in the middle of the first half."""
    content = bytearray(path.read_bytes())
    at = content.index(b'"pad"', len(content) // 4)
    content[at] ^= 1
    path.write_bytes(content)


def lost_records(text):
    return sum(int(count) for count in re.findall(r"lost: records \d+ to \d+ \((\d+)\)", text))


def test(folder):
    service = harness.Hydrant(folder, {"clicks": {"shards": 2, "retention": "24h"}}, {})
    service.start()
    records = [{"id": number, "pad": "p" * 1000} for number in range(RECORDS)]
    entries = [(f"k{one['id']}", json.dumps(one).encode(), None) for one in records]
    places = harness.put_all(service.client(), "clicks", entries)
    service.stop()

    segments = sorted((folder / "data" / "streams").glob("*/*.seg"))
    harness.check(len(segments) > 1, f"{segments}: the test needs a sealed segment")
    damage(segments[0])
    code, text = command(folder, "run", "hydrant.yaml")
    named = segments[0].name in text and "hydrant log repair" in text
    harness.check(code == 1 and named, f"run ended with {code} and said {text}")

    code, text = command(folder, "log", "verify", "data")
    harness.check(code == 1, f"verify ended with {code}: {text}")
    log = str(segments[0].parent)
    code, text = command(folder, "log", "repair", log)
    lost = lost_records(text)
    harness.check(code == 1 and 0 < lost < RECORDS / 2, f"repair ended with {code}: {text}")
    code, text = command(folder, "log", "repair", log, "--apply")
    harness.check(code == 0 and lost_records(text) == lost, f"repair ended with {code}: {text}")
    kept = list(segments[0].parent.with_name(segments[0].parent.name + ".quarantine").iterdir())
    harness.check(len(kept) == 1, f"{kept} are kept")
    code, text = command(folder, "log", "verify", "data")
    harness.check(code == 0, f"verify ended with {code}: {text}")

    service.start()
    client = service.client()
    found = harness.read_stream(client, "clicks")
    ids = [json.loads(one["Data"])["id"] for shard in found.values() for one in shard]
    harness.check(len(set(ids)) == len(ids), "a record is there twice")
    harness.check(len(ids) == RECORDS - lost, f"{len(ids)} of {RECORDS} records are left, {lost} were lost")
    after = harness.put_all(client, "clicks", entries[:100])
    newest = {}
    for shard, number in places:
        newest[shard] = max(number, newest.get(shard, 0))
    harness.check(all(number > newest[shard] for shard, number in after), "a number was given out twice")
    service.stop()


if __name__ == "__main__":
    harness.run("repair", test)
