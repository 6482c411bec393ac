"""A destination that is away while records keep coming: connections are refused, then requests are
swallowed, then all is answered with 503. Meanwhile puts are acknowledged, memory stays within the contract of
`memory: 256MiB`, the destination is hardly asked, and a neighbour delivers as ever. Once it is well, delivery
goes on within half a minute or so and catches up at three times the pace of the input or more; every record arrives
once.

It is away for some seconds, with `HYDRANT_FULL=1` for ten minutes.
"""

import os
import time

import harness
from fault_proxy import FaultProxy
from load import SteadyLoad
from memory import LIMIT_BYTES, Watch, check_once, ids_of

FULL = os.environ.get("HYDRANT_FULL") == "1"
AWAY_SECONDS = 600 if FULL else 24
BYTES_A_SECOND = 2 << 20
# The longest pause of the breaker, and the lanes' own time; where it is away for a short time only, a request
# that was swallowed before that.
RESUMED_WITHIN = 35 if FULL else 45
# After that; more than the backlog takes at three times the pace of the input.
CAUGHT_UP_WITHIN = 600 if FULL else 90
CATCH_UP = 3
# A put that takes longer was held up.
PUT_SECONDS = 5
SHARDS = 4
HINTS = {"size": "4MiB", "interval": "2s"}
WAYS = ("refuse", "silence", "503")


class Service(harness.Hydrant):
    def number(self, name, stream="lake", **labels):
        """A sample of a delivery stream."""
        labels = "".join(f',{key}="{value}"' for key, value in labels.items())
        return self.metrics()[f'{name}{{delivery_stream="{stream}"{labels}}}']

    def delivered(self, stream="lake"):
        return self.number("hydrant_records_delivered_total", stream)


def delivery_streams(bucket, endpoint, folder):
    shape = {"compression": "gzip", "buffering_hints": HINTS}
    directory = {"path": str(folder / "archive"), **shape}
    return {
        "lake": {"source": harness.embedded("clicks"), "destination": harness.to_s3(bucket, "lake", endpoint=endpoint, **shape)},
        "archive": {"source": harness.embedded("clicks"), "destination": {"directory": directory}},
    }


def away(proxy, service, load):
    """In each way for its part of the time; gives how many requests came through meanwhile."""
    asked = service.number("hydrant_destination_requests_total")
    for way in WAYS:
        before = service.number("hydrant_destination_requests_total")
        if way == "refuse":
            # Whoever has a connection finds it dead.
            proxy.always("reset")
            with proxy.refusing():
                pass_time(AWAY_SECONDS / len(WAYS), service, load)
                proxy.always("silence")
        else:
            proxy.always(way)
            pass_time(AWAY_SECONDS / len(WAYS), service, load)
        requests = service.number("hydrant_destination_requests_total") - before
        print(f"outage: {way}: {requests:.0f} requests in {AWAY_SECONDS / len(WAYS):.0f} s", flush=True)
    return service.number("hydrant_destination_requests_total") - asked


def pass_time(seconds, service, load):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        harness.check(service.process.poll() is None, "the service has ended")
        harness.check(load.running(), "the load has ended")
        fresh = service.number("hydrant_delivery_to_directory_data_freshness_seconds", "archive")
        harness.check(fresh < 20, f"the neighbour is held up: its oldest record is {fresh:.0f} s old")
        time.sleep(0.5)


def catch_up(service, load, ended):
    """Waits until nothing but the newest is missing; gives when delivery went on and the pace of catching up."""
    at_end, resumed = service.delivered(), None
    behind = load.records_a_second * 6
    while True:
        harness.check(service.process.poll() is None, "the service has ended")
        harness.check(load.running(), "the load has ended")
        acknowledged, now, delivered = load.acknowledged(), time.monotonic(), service.delivered()
        if resumed is None:
            if delivered > at_end:
                resumed = (now, delivered)
            harness.check(now < ended + RESUMED_WITHIN, f"no delivery {RESUMED_WITHIN} s after the outage")
        elif delivered >= acknowledged - behind:
            seconds = now - resumed[0]
            return resumed[0] - ended, (delivered - resumed[1]) / max(seconds, 0.1), seconds
        else:
            harness.check(now < resumed[0] + CAUGHT_UP_WITHIN, "it does not catch up")
        time.sleep(0.1)


def check_neighbour(folder, records):
    seen = bytearray(records)
    for path in sorted((folder / "archive").rglob("*.gz")):
        for number in ids_of(path.read_bytes()):
            harness.check(not seen[number], f"archive: record {number} is there twice")
            seen[number] = 1
    harness.check(sum(seen) == records, f"archive: {records - sum(seen)} of {records} records are missing")


def test(folder):
    bucket = harness.new_bucket("outage")
    with FaultProxy(os.environ["HYDRANT_TEST_S3_ENDPOINT"]) as proxy:
        service = Service(
            folder,
            {"clicks": {"shards": SHARDS, "retention": "24h"}},
            delivery_streams(bucket, proxy.endpoint, folder),
            memory="256MiB",
        )
        service.start()
        watch, load = Watch(service), SteadyLoad(service.api, "clicks", BYTES_A_SECOND)
        watch.start()
        harness.wait_until(lambda: service.delivered() > 0, 30, "nothing was delivered", service.process)
        began = time.monotonic()
        requests = away(proxy, service, load)
        state = service.metrics()
        closed = state['hydrant_destination_breaker{delivery_stream="lake",state="closed"}']
        harness.check(closed == 0, "the breaker is closed at the end of the outage")
        harness.check('failing: lake: ' in service.page("/readyz"), "/readyz does not name the stream that fails")
        # Those that open it, those under way then, and a probe each 5 s at most.
        most = 10 + 64 + AWAY_SECONDS / 5
        harness.check(requests <= most, f"{requests} requests while it was away, at most {most}")
        ended, backlog = time.monotonic(), load.acknowledged() - service.delivered()
        proxy.always("ok")
        resumed, pace, seconds = catch_up(service, load, ended)
        closed = service.number("hydrant_destination_breaker", state="closed")
        harness.check(closed == 1, "the breaker is not closed after the outage")
        result = load.end()
        harness.wait_until(
            lambda: all(service.delivered(name) == result.records for name in ("lake", "archive")),
            60, "not everything was delivered", service.process,
        )  # fmt: skip
        watch.stopped.set()
        watch.join(10)
        peak, factor = watch.peak(), pace / load.records_a_second
        openings = service.number("hydrant_destination_breaker_openings_total")
        service.stop()
    print(
        f"outage: away for {ended - began:.0f} s with {requests:.0f} requests and {openings:.0f} openings; "
        f"{result.records} records put, {result.throttled} calls throttled, the slowest took {result.slowest:.1f} s; "
        f"{backlog:.0f} records waited; went on after {resumed:.1f} s, caught up in {seconds:.1f} s at {factor:.1f} times "
        f"the pace of the input; peak RSS {peak / (1 << 20):.0f} MiB",
        flush=True,
    )
    objects = check_once(bucket, "lake", result.records)
    check_neighbour(folder, result.records)
    print(f"outage: {result.records} records once each in {objects} objects, and at the neighbour", flush=True)
    harness.check(result.error is None, f"the load failed: {result.error}")
    harness.check(result.throttled == 0, f"{result.throttled} puts were throttled")
    harness.check(result.slowest < PUT_SECONDS, f"a put took {result.slowest:.1f} s")
    harness.check(peak < LIMIT_BYTES, f"peak RSS {peak >> 20} MiB, limit {LIMIT_BYTES >> 20} MiB")
    harness.check(factor >= CATCH_UP, f"it caught up at {factor:.1f} times the pace of the input, wanted {CATCH_UP}")


if __name__ == "__main__":
    harness.run("outage", test)
