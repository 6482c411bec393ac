"""Puts records as fast as they are taken, or at an even pace, from processes of its own, without an SDK in the way.

Record N of a load of so many is the JSON object `{"id": N, "pad": ...}` of 1 to 5 KiB; its pad compresses
little. What is throttled is put again; any other answer ends the load with an error.
"""

import base64
import dataclasses
import http.client
import json
import multiprocessing
import os
import random
import time

from with_parent import end_with_parent

BATCH = 400
PAD_BYTES = (1_000, 5_000)
# Of this every pad is a slice.
NOISE_BYTES = 1 << 20
SPAWN = multiprocessing.get_context("spawn")


class Load:
    """A running load: so many records by so many processes."""

    def __init__(self, port, stream, records, processes=2):
        self.records, self.results = records, SPAWN.Queue()
        self.workers = [
            SPAWN.Process(
                target=work, args=(port, stream, range(number, records, processes), self.results), daemon=True
            )
            for number in range(processes)
        ]
        for worker in self.workers:
            worker.start()

    def running(self):
        return any(worker.is_alive() for worker in self.workers)

    def end(self):
        """Bytes of data that were put, and how many calls were throttled; an error of a worker as text."""
        results = [self.results.get(timeout=30) for _ in self.workers]
        for worker in self.workers:
            worker.join(30)
        error = next((error for _, _, error in results if error), None)
        return sum(one[0] for one in results), sum(one[1] for one in results), error


class SteadyLoad:
    """A running load at an even pace, by one process, until it is ended."""

    BATCHES_A_SECOND = 5

    @dataclasses.dataclass
    class Result:
        records: int
        throttled: int
        slowest: float  # seconds of the longest call
        error: str | None

    def __init__(self, port, stream, bytes_a_second, sender=None):
        sender = sender or Sender
        batch = bytes_a_second // sender.RECORD_BYTES // self.BATCHES_A_SECOND
        self.records_a_second = batch * self.BATCHES_A_SECOND
        self.results, self.stop, self.count = SPAWN.Queue(), SPAWN.Event(), SPAWN.Value("q", 0)
        args = (sender, port, stream, batch, 1 / self.BATCHES_A_SECOND, self.stop, self.count, self.results)
        self.worker = SPAWN.Process(target=steady, args=args, daemon=True)
        self.worker.start()

    def running(self):
        return self.worker.is_alive()

    def acknowledged(self):
        """How many records the service has taken so far."""
        return self.count.value

    def end(self):
        self.stop.set()
        result = self.results.get(timeout=90)
        self.worker.join(30)
        return self.Result(*result)


def steady(make, port, stream, batch, every, stop, count, results):
    end_with_parent()
    sender, slowest, error = make(port, stream, random.Random(1)), 0, None
    try:
        due = time.monotonic()
        while not stop.wait(max(0, due - time.monotonic())):
            # What is late is made up for.
            due += every
            began = time.monotonic()
            sender.put(range(count.value, count.value + batch))
            slowest = max(slowest, time.monotonic() - began)
            count.value += batch
    except Exception as problem:  # handed to the main process, which fails by it
        error = repr(problem)
    results.put((count.value, sender.throttled, slowest, error))


def work(port, stream, ids, results):
    end_with_parent()
    put_bytes, throttled, error = 0, 0, None
    try:
        sender = Sender(port, stream, random.Random(ids.start))
        for first in range(0, len(ids), BATCH):
            sender.put(ids[first : first + BATCH])
        put_bytes, throttled = sender.put_bytes, sender.throttled
    except Exception as problem:  # handed to the main process, which fails by it
        error = repr(problem)
    results.put((put_bytes, throttled, error))


class Sender:
    # On average, with what is around the pad.
    RECORD_BYTES = sum(PAD_BYTES) // 2 + 25

    def __init__(self, port, stream, rng):
        self.port, self.stream, self.rng = port, stream, rng
        self.noise = base64.b64encode(os.urandom(NOISE_BYTES)).decode()
        self.connection = None
        self.put_bytes, self.throttled = 0, 0

    def put(self, ids):
        entries = [self.entry(number) for number in ids]
        while entries:
            status, answer = self.call(entries)
            if status == 400 and "ProvisionedThroughputExceeded" in answer.get("__type", ""):
                self.throttled += 1
                time.sleep(self.rng.uniform(0.05, 0.2))
                continue
            if status != 200:
                raise RuntimeError(f"a put got {status}: {answer}")
            results = answer["Records"]
            entries = [entry for entry, one in zip(entries, results, strict=True) if "ErrorCode" in one]
            if entries:
                self.throttled += 1
                time.sleep(0.2)

    def entry(self, number):
        size = self.rng.randrange(*PAD_BYTES)
        at = self.rng.randrange(len(self.noise) - size)
        data = b'{"id": %d, "pad": "%s"}' % (number, self.noise[at : at + size].encode())
        self.put_bytes += len(data)
        data = base64.b64encode(data).decode()
        return f'{{"PartitionKey":"k{number % 101}","Data":"{data}"}}'

    def call(self, entries):
        body = '{"StreamName":"%s","Records":[%s]}' % (self.stream, ",".join(entries))
        headers = {"X-Amz-Target": "Kinesis_20131202.PutRecords", "Content-Type": "application/x-amz-json-1.1"}
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self.connection.request("POST", "/", body.encode(), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text)
