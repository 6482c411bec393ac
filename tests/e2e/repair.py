"""A damaged log is refused with its place; `hydrant log repair` says what is lost, and makes the log
open again without exactly that. With `on_corruption: quarantine` the start does both by itself."""

import json
import re
import subprocess

import harness
from readers import read_objects

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


STREAMS = {"clicks": {"shards": 2, "retention": "24h"}}


def records_from(first, count):
    """Records as what `put_all` wants."""
    records = [{"id": number, "pad": "p" * 1000} for number in range(first, first + count)]
    return [(f"k{one['id']}", json.dumps(one).encode(), None) for one in records]


def fill(folder, service):
    """Puts records into a service that ends then; gives where each is, and the files of the log."""
    service.start()
    places = harness.put_all(service.client(), "clicks", records_from(0, RECORDS))
    service.stop()
    segments = sorted((folder / "data" / "streams").glob("*/*.seg"))
    harness.check(len(segments) > 1, f"{segments}: the test needs a sealed segment")
    return places, segments


def lsn(number):
    """The number of a record in its log, from its sequence number."""
    return number >> 80 & (1 << 64) - 1


def quarantined(folder):
    """The start itself gives up what is damaged: all else is delivered, once."""
    service = harness.Hydrant(folder, STREAMS, {}, on_corruption="quarantine")
    places, segments = fill(folder, service)
    damage(segments[0])
    out = {"directory": {"path": str(folder / "out"), "buffering_hints": {"size": "1MiB", "interval": "1s"}}}
    service.configure(STREAMS, {"archive": {"source": harness.embedded("clicks"), "destination": out}})

    log = folder / "hydrant.log"
    said_before = len(log.read_text())
    service.start()
    alarms = re.findall(
        r"ERROR .*records are lost.* lane=(\d+) first_lsn=(\d+) last_lsn=(\d+) records=(\d+)",
        log.read_text()[said_before:],
    )
    harness.check(len(alarms) == 1, f"{alarms} were said to be lost")
    lane, first, last, count = map(int, alarms[0])
    harness.check(last - first + 1 == count > 0, f"{alarms}: the count does not fit")
    lost = {
        number
        for number, (shard, sequence) in enumerate(places)
        if first <= lsn(sequence) <= last and shard == f"shardId-{lane:012}"
    }
    harness.check(len(lost) == count, f"{len(lost)} records were put there, {count} are said to be lost")
    stream = '{stream="clicks"}'
    metrics = service.metrics()
    harness.check(metrics["hydrant_stream_quarantined_files" + stream] == 1, "no file is said to be damaged")
    harness.check(metrics["hydrant_stream_lost_records" + stream] == count, "the metric has another number")
    aside = list(segments[0].parent.with_name(segments[0].parent.name + ".quarantine").iterdir())
    harness.check(len(aside) == 1 and aside[0].stat().st_size > 0, f"{aside} are kept")

    harness.put_all(service.client(), "clicks", records_from(RECORDS, 100))
    wanted = [number for number in range(RECORDS + 100) if number not in lost]
    complete = lambda: len(harness.count_ids(read_objects.read_folder(folder / "out"))) >= len(wanted)
    harness.wait_until(complete, 60, "not everything is delivered", service.process)
    service.stop()
    said_before = len(log.read_text())
    service.start()
    metrics = service.metrics()
    harness.check(metrics["hydrant_stream_quarantined_files" + stream] == 0, "the next start is not clean")
    service.stop()
    said = log.read_text()[said_before:]
    harness.check("ERROR" not in said, f"the next start complains: {said}")
    counts = harness.count_ids(read_objects.read_folder(folder / "out"))
    harness.once_each(counts, wanted, "out")
    harness.check(not lost & set(counts), "what was said to be lost was delivered")


def repaired(folder):
    """A person decides, as it is by default."""
    service = harness.Hydrant(folder, STREAMS, {})
    places, segments = fill(folder, service)
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
    after = harness.put_all(client, "clicks", records_from(0, 100))
    newest = {}
    for shard, number in places:
        newest[shard] = max(number, newest.get(shard, 0))
    harness.check(all(number > newest[shard] for shard, number in after), "a number was given out twice")
    service.stop()


def test(folder):
    for one in (repaired, quarantined):
        (folder / one.__name__).mkdir()
        one(folder / one.__name__)


if __name__ == "__main__":
    harness.run("repair", test)
