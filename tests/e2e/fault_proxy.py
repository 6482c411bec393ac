"""An HTTP proxy that fails as it is told, between the service and a real S3 server.

One request a connection: heads and bodies pass as they are, so that signatures stay valid. What
happens to a request is asked for when its head is there: `proxy.plan` is called with the method and
the path and gives a mode, a word of `MODES`. It runs in a thread of its own; `plan` and `rate` may be
set at any time.
"""

import asyncio
import collections
import socket
import struct
import threading

MODES = (
    "ok",  # passed on
    "slow",  # passed on, all bodies together with `rate` bytes a second
    "500",
    "503",  # with Retry-After
    "401",
    "403",
    "silence",  # the request is read, and nothing follows
    "reset",  # the connection breaks before the server has seen anything
    "reset_after",  # it breaks after the server did what it was asked
    "truncated",  # the answer ends midway
)

ANSWERS = {
    "500": ("500 Internal Server Error", "InternalError", ""),
    "503": ("503 Slow Down", "SlowDown", "retry-after: 1\r\n"),
    "401": ("401 Unauthorized", "InvalidToken", ""),
    "403": ("403 Forbidden", "AccessDenied", ""),
}

CHUNK_BYTES = 64 << 10
# A slow body passes in smaller pieces, so that its pace is even.
SLOW_CHUNK_BYTES = 16 << 10
HEAD_BYTES = 64 << 10
SILENCE_SECONDS = 300


class FaultProxy:
    """A running proxy; `endpoint` is where it listens. Ends with its `with` block."""

    def __init__(self, upstream):
        host, port = upstream.removeprefix("http://").split(":")
        self.upstream = (host, int(port))
        self.plan = lambda _method, _path: "ok"
        self.rate = 1 << 20
        # Requests by mode, and the bytes of bodies that the server got.
        self.seen, self.body_bytes = collections.Counter(), 0
        self.loop = asyncio.new_event_loop()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.endpoint = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=[self.serve()], daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.ended.set)
        self.thread.join(10)

    def always(self, mode):
        """From now on every request meets this mode."""
        assert mode in MODES, mode
        self.plan = lambda _method, _path: mode

    async def serve(self):
        self.ended, self.pace = asyncio.Event(), asyncio.Lock()
        server = await asyncio.start_server(self.connection, sock=self.listener, limit=HEAD_BYTES)
        await self.ended.wait()
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

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
        mode = self.plan(method, path)
        self.seen[mode] += 1
        if mode == "reset":
            reset(writer)
        elif mode == "silence":
            await drain(reader, length)
            await asyncio.wait_for(reader.read(1), SILENCE_SECONDS)
        elif mode in ANSWERS:
            await drain(reader, length)
            status, code, more = ANSWERS[mode]
            body = f"<Error><Code>{code}</Code><Message>as the test wants</Message></Error>"
            # The answer to a HEAD has no body.
            body = "" if method == "HEAD" else body
            answer = f"HTTP/1.1 {status}\r\n{more}content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}"
            writer.write(answer.encode())
            await writer.drain()
        else:
            answer = await self.forward(head, reader, length, mode)
            if mode == "reset_after":
                reset(writer)
                return
            if mode == "truncated":
                answer = answer[: len(answer) // 2]
            writer.write(answer)
            await writer.drain()

    async def forward(self, head, reader, length, mode):
        """Sends the request on and gives the whole answer, which may come before the body has passed."""
        answers, server = await asyncio.open_connection(*self.upstream)
        answer = asyncio.create_task(read_all(answers))
        try:
            server.write(head)
            while length > 0 and not answer.done():
                most = SLOW_CHUNK_BYTES if mode == "slow" else CHUNK_BYTES
                chunk = await reader.read(min(length, most))
                if not chunk:
                    raise asyncio.IncompleteReadError(b"", length)
                length -= len(chunk)
                if mode == "slow":
                    async with self.pace:
                        await asyncio.sleep(len(chunk) / self.rate)
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


async def read_all(reader):
    """What comes until the end, however it ends."""
    parts = []
    try:
        while part := await reader.read(CHUNK_BYTES):
            parts.append(part)
    except OSError:
        pass
    return b"".join(parts)


async def drain(reader, length):
    """Reads a body and forgets it."""
    while length > 0:
        chunk = await reader.read(min(length, CHUNK_BYTES))
        if not chunk:
            raise asyncio.IncompleteReadError(b"", length)
        length -= len(chunk)


def reset(writer):
    """Ends a connection at once, without the usual good-bye."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
