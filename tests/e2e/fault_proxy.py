"""An HTTP proxy that fails as it is told, between the service and a real S3 server.

One request a connection: heads and bodies pass as they are, so that signatures stay valid. What
happens to a request is asked for when its head is there: `proxy.plan` is called with the method and
the path and gives a word of `MODES`, or several, joined by `+`: `drip+reset_after`. It runs in a thread
of its own; `plan`, `rate` and `hang_seconds` may be set at any time.
"""

import asyncio
import collections
import contextlib
import re
import socket
import struct
import threading

MODES = (
    "ok",  # passed on
    # How bytes pass; with any of the others.
    "slow",  # all bodies together with `rate` bytes a second
    "drip",  # both ways in pieces, with pauses
    # Answered here; the server sees nothing.
    "500",
    "503",  # with Retry-After
    "429",  # with Retry-After
    "401",
    "403",
    "garbage",  # an error whose body is noise
    "nonsense",  # what comes is not HTTP
    "silence",  # the request is read, and nothing follows for `hang_seconds`
    "deaf",  # not even its body is read
    "reset",  # the connection breaks before the server has seen anything
    # The server gets the request.
    "reset_during",  # ... but half of its body: both connections break
    "late",  # ... after a while, whether or not anyone still waits for the answer
    "twice",  # ... two times; the second answer counts
    "reset_after",  # the connection breaks after the server did what it was asked
    "truncated",  # the answer ends midway
    "short",  # the answer's length says less than there is
    "long",  # the answer's length says more than there is, and it ends
)

ANSWERS = {
    "500": ("500 Internal Server Error", "InternalError", ""),
    "503": ("503 Slow Down", "SlowDown", "retry-after: 1\r\n"),
    "429": ("429 Too Many Requests", "TooManyRequests", "retry-after: 1\r\n"),
    "401": ("401 Unauthorized", "InvalidToken", ""),
    "403": ("403 Forbidden", "AccessDenied", ""),
    "garbage": ("502 Bad Gateway", None, "content-type: text/html\r\n"),
}
NOISE = bytes(range(255, 0, -1))

CHUNK_BYTES = 64 << 10
# A slow body passes in smaller pieces, so that its pace is even.
SLOW_CHUNK_BYTES = 16 << 10
DRIP_SECONDS = 0.02
# The answers of an S3 server are short.
DRIP_ANSWER_BYTES = 50
HEAD_BYTES = 64 << 10
LATE_SECONDS = 1.5


class FaultProxy:
    """A running proxy; `endpoint` is where it listens. Ends with its `with` block."""

    def __init__(self, upstream):
        host, port = upstream.removeprefix("http://").split(":")
        self.upstream = (host, int(port))
        self.plan = lambda _method, _path: "ok"
        self.rate, self.hang_seconds = 1 << 20, 300
        # Requests by the modes they met, and the bytes of bodies that the server got.
        self.seen, self.body_bytes = collections.Counter(), 0
        self.loop = asyncio.new_event_loop()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=[self.serve()], daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.ended.set)
        self.thread.join(10)

    def always(self, mode):
        """From now on every request meets this mode."""
        assert set(mode.split("+")) <= set(MODES), mode
        self.plan = lambda _method, _path: mode

    @contextlib.contextmanager
    def refusing(self):
        """Meanwhile new connections are refused."""
        self.call(self.close())
        yield
        self.call(self.open())

    def call(self, work):
        asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    async def serve(self):
        self.ended, self.pace = asyncio.Event(), asyncio.Lock()
        self.server = await asyncio.start_server(self.connection, sock=self.listener, limit=HEAD_BYTES)
        await self.ended.wait()
        self.server.close()
        # One that is cancelled cancels others.
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def close(self):
        self.server.close()

    async def open(self):
        self.server = await asyncio.start_server(
            self.connection, "127.0.0.1", self.port, backlog=256, limit=HEAD_BYTES, reuse_address=True
        )

    async def connection(self, reader, writer):
        try:
            await self.request(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # whoever went away is the service's or the server's matter
        finally:
            writer.close()

    async def request(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        line, *fields = head[:-4].decode("latin-1").split("\r\n")
        method, path, _ = line.split(" ", 2)
        length, kept = 0, []
        for field in fields:
            name, _, value = field.partition(":")
            if name.lower() == "content-length":
                length = int(value)
            if name.lower() == "expect":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            elif name.lower() != "connection":
                kept.append(field)
        head = "\r\n".join([line, *kept, "connection: close", "", ""]).encode("latin-1")
        modes = set(self.plan(method, path).split("+"))
        self.seen.update(modes)
        if "reset" in modes:
            reset(writer)
            return
        if "deaf" in modes:
            await asyncio.sleep(self.hang_seconds)
            return
        body = self.body(reader, length, modes)
        answer = self.own_answer(method, modes)
        if "silence" in modes or answer is not None:
            async for _ in body:
                pass
            if answer is None:
                await asyncio.wait_for(reader.read(1), self.hang_seconds)
                return
        elif "reset_during" in modes:
            # Breaks the connection to the server, too.
            with contextlib.suppress(asyncio.IncompleteReadError):
                await self.forward(head, up_to(body, length // 2))
        else:
            answer = await self.upstream_answer(head, body, modes)
        if modes & {"reset_after", "reset_during"}:
            reset(writer)
            return
        await write(writer, damaged(answer, method, modes), "drip" in modes)

    async def body(self, reader, length, modes):
        """The chunks of a body, as fast as it passes."""
        most = SLOW_CHUNK_BYTES if "slow" in modes else CHUNK_BYTES
        while length > 0:
            chunk = await reader.read(min(length, most))
            if not chunk:
                raise asyncio.IncompleteReadError(b"", length)
            length -= len(chunk)
            if "slow" in modes:
                async with self.pace:
                    await asyncio.sleep(len(chunk) / self.rate)
            if "drip" in modes:
                await asyncio.sleep(DRIP_SECONDS)
            yield chunk

    def own_answer(self, method, modes):
        """What is said here, in place of the server."""
        if "nonsense" in modes:
            return NOISE
        for mode in modes & set(ANSWERS):
            status, code, more = ANSWERS[mode]
            body = NOISE if code is None else f"<Error><Code>{code}</Code><Message>as the test wants</Message></Error>".encode()
            # The answer to a HEAD has no body.
            body = b"" if method == "HEAD" else body
            answer = f"HTTP/1.1 {status}\r\n{more}content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            return answer.encode() + body
        return None

    async def upstream_answer(self, head, body, modes):
        if not modes & {"late", "twice"}:
            return await self.forward(head, body)
        chunks = [chunk async for chunk in body]
        if "late" in modes:
            await asyncio.sleep(LATE_SECONDS)
        if "twice" in modes:
            await self.forward(head, each(chunks))
        return await self.forward(head, each(chunks))

    async def forward(self, head, body):
        """Sends the request on and gives the whole answer, which may come before the body has passed."""
        answers, server = await asyncio.open_connection(*self.upstream)
        answer = asyncio.create_task(read_all(answers))
        try:
            server.write(head)
            async for chunk in body:
                if answer.done():
                    break
                server.write(chunk)
                try:
                    await server.drain()
                except OSError:
                    break  # it has heard enough
                self.body_bytes += len(chunk)
            return await answer
        finally:
            answer.cancel()
            server.close()


async def each(chunks):
    for chunk in chunks:
        yield chunk


async def up_to(body, count):
    """The first bytes of a body; then it breaks."""
    async for chunk in body:
        yield chunk[:count]
        count -= len(chunk)
        if count <= 0:
            break
    raise asyncio.IncompleteReadError(b"", None)


async def read_all(reader):
    """What comes until the end, however it ends."""
    parts = []
    with contextlib.suppress(OSError):
        while part := await reader.read(CHUNK_BYTES):
            parts.append(part)
    return b"".join(parts)


def damaged(answer, method, modes):
    """An answer as it arrives."""
    if "truncated" in modes:
        answer = answer[: len(answer) // 2]
    for mode, lie in [("short", lambda length: length // 2), ("long", lambda length: length + 100)]:
        # That of a HEAD is the object's.
        if mode in modes and method != "HEAD":
            answer = re.sub(rb"(?i)(\r\ncontent-length: *)(\d+)", lambda m: m[1] + b"%d" % lie(int(m[2])), answer, count=1)
    return answer


async def write(writer, answer, drips):
    size = DRIP_ANSWER_BYTES if drips else max(len(answer), 1)
    for at in range(0, len(answer), size):
        writer.write(answer[at : at + size])
        await writer.drain()
        if drips:
            await asyncio.sleep(DRIP_SECONDS)


def reset(writer):
    """Ends a connection at once, without the usual good-bye."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
