"""Two processes on one `data_dir`: the second is refused by name and harms nothing; once the first is gone,
be it by SIGKILL, the next one starts at once, and every record arrives once."""

import json
import subprocess

import harness
from readers import read_objects

STREAMS = {"clicks": {"shards": 2, "retention": "24h"}}


def deliveries(folder):
    out = {"directory": {"path": str(folder / "out"), "buffering_hints": {"size": "1MiB", "interval": "1s"}}}
    return {"archive": {"source": harness.embedded("clicks"), "destination": out}}


def put(service, first, count=200):
    records = ({"id": number} for number in range(first, first + count))
    entries = [(f"k{one['id']}", json.dumps(one).encode(), None) for one in records]
    harness.put_all(service.client(), "clicks", entries)


def refused(folder, *arguments):
    """A command that must end with 1, and say why."""
    done = subprocess.run(
        [harness.BINARY, *arguments],
        cwd=folder,
        env=harness.service_environment(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    text = done.stdout + done.stderr
    harness.check(done.returncode == 1, f"{arguments} ended with {done.returncode}: {text}")
    named = "another hydrant uses" in text and "stop it or choose another data_dir" in text
    harness.check(named, f"{arguments} said {text}")


def test(folder):
    service = harness.Hydrant(folder, STREAMS, deliveries(folder))
    service.start()
    put(service, 0)
    other = folder / "other"
    other.mkdir()
    # Ports of its own, so that nothing but the directory is in its way.
    harness.Hydrant(other, STREAMS, deliveries(folder), data_dir=str(folder / "data"))
    for _ in range(3):
        refused(other, "run", "hydrant.yaml")
    log = next((folder / "data" / "streams").iterdir())
    refused(folder, "log", "repair", str(log), "--apply")
    put(service, 200)
    harness.check(service.process.poll() is None and service.ready(), "the first process was harmed")
    service.kill()
    service.start()
    put(service, 400)

    def delivered():
        return harness.count_ids(read_objects.read_folder(folder / "out"))

    harness.wait_until(lambda: len(delivered()) >= 600, 60, "not everything is delivered", service.process)
    service.stop()
    harness.once_each(delivered(), range(600), "out")


if __name__ == "__main__":
    harness.run("twice", test)
