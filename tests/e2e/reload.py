"""SIGHUP puts processors in force while records flow: every record once, by one module or the other, and
none of a later range by the earlier one. A stream of which every record traps pauses, is told of, and goes
on with a mended module; a configuration with faults changes nothing. Modules are compiled once."""

import json
import shutil
import signal
import threading
import time

import harness
from readers import read_objects

STREAMS = {name: {"shards": 1, "retention": "24h"} for name in ("clicks", "traps")}
HINTS = {"size": "64KiB", "interval": "1s"}
HOSTILE = harness.ROOT / "crates" / "transform" / "tests" / "it" / "hostile.wasm"
BATCH = 50
TRAPS = 40


def to_folder(folder, name):
    return {
        "directory": {
            "path": str(folder / "objects"),
            "prefix": f"{name}/",
            "error_output_prefix": f"errors/{name}/",
            "buffering_hints": HINTS,
        }
    }


def configure(service, fields, pausing):
    """`clicks` redacts fields; `traps` goes through a module of which the file is replaced."""
    module = {"module": str(service.folder / "module.wasm"), "on_trap": "pause" if pausing else "error_output"}
    streams = {
        "clicks": {
            "source": harness.embedded("clicks"),
            "processors": [harness.redact(fields)],
            "destination": to_folder(service.folder, "clicks"),
        },
        "traps": {
            "source": harness.embedded("traps"),
            "processors": [{"wasm": module}],
            "destination": to_folder(service.folder, "traps"),
        },
    }
    service.configure(STREAMS, streams)


def reload(service):
    service.process.send_signal(signal.SIGHUP)


class Producer(threading.Thread):
    """Puts until it is told to end."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.number, self.done, self.error = client, 0, threading.Event(), None

    def run(self):
        try:
            while not self.done.is_set():
                numbers = range(self.number, self.number + BATCH)
                records = [{"id": number, "email": "x@example.com", "name": "Ann"} for number in numbers]
                entries = [("k", json.dumps(record).encode(), None) for record in records]
                harness.put_all(self.client, "clicks", entries)
                self.number += BATCH
                time.sleep(0.02)
        except Exception as error:  # noqa: BLE001: told by the test's own thread
            self.error = error

    def end(self):
        self.done.set()
        self.join()
        harness.check(self.error is None, f"the producer failed: {self.error}")
        return list(range(self.number))


def status(service, name):
    streams = json.loads(service.page("/api/v1/streams"))
    return next(one for one in streams["delivery_streams"] if one["name"] == name)


def objects(service, name):
    found = read_objects.read_folder(service.folder / "objects")
    return [one for one in found if f"{name}/" in one.key]


def test(folder):
    shutil.copy(HOSTILE, folder / "module.wasm")
    service = harness.Hydrant(folder, STREAMS, {})
    configure(service, ["email"], pausing=True)
    service.start()
    compiled = sorted(path.name for path in (folder / "data" / "compiled").iterdir())
    harness.check(len(compiled) == 2, f"{len(compiled)} modules are kept compiled, 2 are configured")
    client = service.client()
    traps = [("k", b"trap", None)] * TRAPS
    harness.put_all(client, "traps", traps)
    producer = Producer(client)
    producer.start()

    paused(service)
    swapped(service, client)
    mended(service)

    wanted = producer.end()
    service.stop()
    found = objects(service, "clicks")
    if not set(wanted) <= set(harness.count_ids(found)):
        service.deliver_all(lambda: set(wanted) <= set(harness.count_ids(objects(service, "clicks"))))
    check_clicks(objects(service, "clicks"), wanted)
    again = {path.name for path in (folder / "data" / "compiled").iterdir()}
    harness.check(set(compiled) <= again, "what was compiled is not kept")


def paused(service):
    """It says so, and delivers nothing, not to the error output either."""
    harness.wait_until(
        lambda: "on_trap: pause" in (status(service, "traps")["last_error"] or ""),
        20,
        "a stream that traps throughout does not pause",
        service.process,
    )
    time.sleep(1)
    harness.check(not objects(service, "traps"), "a stream that pauses has delivered something")
    shown = status(service, "traps")["transforms"][0]
    harness.check(shown["problems"]["trap"] > 0, f"no trap is counted: {shown}")
    metrics = service.metrics()
    labels = f'{{delivery_stream="traps",processor="0",module="{shown["module"]}",problem="trap"}}'
    harness.check(metrics[f"hydrant_transform_problems_total{labels}"] > 0, "no trap is in the metrics")


def swapped(service, client):
    """`clicks` gets other settings while records flow; first a file with a fault, which changes nothing."""
    before = status(service, "clicks")["version"]
    (service.folder / "hydrant.yaml").write_text("delivery_streams: {")
    reload(service)
    harness.wait_until(
        lambda: "nothing is reloaded" in (service.folder / "hydrant.log").read_text(),
        10,
        "a configuration with faults is not told of",
        service.process,
    )
    harness.check(status(service, "clicks")["version"] == before, "a configuration with faults is in force")
    configure(service, ["email", "name"], pausing=True)
    reload(service)
    harness.wait_until(
        lambda: status(service, "clicks")["version"] != before, 20, "nothing was replaced", service.process
    )
    # Records of both versions are delivered.
    harness.wait_until(
        lambda: any("[redacted]" in one.records[-1]["name"] for one in objects(service, "clicks")),
        20,
        "the new processors deliver nothing",
        service.process,
    )


def mended(service):
    """The module behind the same path is another one: the lane goes on by itself, and at once."""
    shutil.copy(harness.ROOT / "transforms" / "web-events" / "web_events.wasm", service.folder / "new.wasm")
    (service.folder / "new.wasm").rename(service.folder / "module.wasm")
    before = status(service, "traps")["version"]
    configure(service, ["email", "name"], pausing=False)
    reload(service)
    harness.wait_until(
        lambda: status(service, "traps")["version"] != before, 20, "nothing was replaced", service.process
    )
    # `trap` is no event for it: each goes to the error output, by the new module's own word.
    harness.wait_until(
        lambda: sum(len(one.records) for one in objects(service, "traps")) == TRAPS,
        15,
        "a mended stream does not go on",
        service.process,
    )
    codes = {record["errorCode"] for one in objects(service, "traps") for record in one.records}
    harness.check(codes == {"Transform.ProcessingFailed"}, f"the old module was asked: {codes}")
    harness.wait_until(
        lambda: status(service, "traps")["last_error"] is None, 20, "the pause is still told of", service.process
    )


def check_clicks(found, wanted):
    """Each record once, and the old processors' before the new ones'."""
    harness.once_each(harness.count_ids(found), wanted, "clicks")
    last_old, first_new = -1, len(wanted)
    for one in found:
        names = {record["name"] for record in one.records}
        harness.check(len(names) == 1, f"{one.key} holds records of both versions")
        ids = [record["id"] for record in one.records]
        harness.check(ids == sorted(ids), f"{one.key} is out of order")
        if names == {"Ann"}:
            last_old = max(last_old, ids[-1])
        else:
            first_new = min(first_new, ids[0])
    harness.check(0 <= last_old < first_new < len(wanted), f"old up to {last_old}, new from {first_new}")


if __name__ == "__main__":
    harness.run("reload", test)
