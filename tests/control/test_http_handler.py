"""One connection of the control port: turns, limits and time. In memory, on a clock that jumps."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator

import attrs
import pytest
import trio
import trio.testing

from esps_portal.control.endpoint import Endpoint, EndpointRequest
from esps_portal.control.guard import Guard
from esps_portal.control.http_connection import MAX_BODY, MAX_HEAD
from esps_portal.control.http_handler import BODY, HEAD, IDLE, STALL, HttpHandler
from esps_portal.control.http_messages import HttpError, Reply, RequestHead
from esps_portal.control.room import Room
from esps_portal.control.router import FoundEndpoint, Routes, find_endpoint
from esps_portal.net.accept_policy import AcceptPolicy
from esps_portal.net.connection_server import ConnectionServer
from esps_portal.testing.pipes import MemoryStream, memory_pair
from tests.patience import patient

GET = b"GET /fast HTTP/1.1\r\nHost: localhost:7\r\n\r\n"


def post(path: str, body: bytes, *headers: str) -> bytes:
    fields = ["Host: localhost:7", "Content-Type: application/json", *headers]
    if not any("Transfer-Encoding" in field for field in headers):
        fields.append(f"Content-Length: {len(body)}")
    return "\r\n".join([f"POST {path} HTTP/1.1", *fields, "", ""]).encode() + body


def numbers(_: object, __: EndpointRequest) -> Iterator[int]:
    return iter(range(100_000))


def broken(_: object, __: EndpointRequest) -> object:
    raise RuntimeError("a defect")


@attrs.define
class Waits:
    """Counts those that wait."""

    now: int = 0

    async def wait(self, _: object, request: EndpointRequest) -> object:
        request.table("seconds")
        self.now += 1
        try:
            await trio.sleep(float(request.table("seconds").values.get("seconds", 1000)))  # type: ignore[arg-type]
        finally:
            self.now -= 1
        return {"waited": True}


@attrs.define
class Site:
    """What is asked here."""

    waits: Waits = attrs.field(factory=Waits)

    def find(self, head: RequestHead) -> FoundEndpoint:
        routes: Routes = {
            "fast": {
                "GET": Endpoint(lambda _, request: {"query": dict(request.query)}, query=("n",))
            },
            "large": {"GET": Endpoint(numbers)},
            "broken": {"GET": Endpoint(broken)},
            "echo": {"POST": Endpoint(lambda _, request: request.value, needs_body=True)},
            "empty": {"POST": Endpoint(lambda _, request: Reply(request.value, 201))},
            "wait": {"POST": Endpoint(self.waits.wait, may_wait=True)},
        }
        found = find_endpoint(routes, None, head.path[1:].split("/"), head)
        if found is None:
            raise HttpError(404, "there is no such path")
        return found


@attrs.define
class Served:
    client: MemoryStream
    site: Site
    handler: HttpHandler
    server: ConnectionServer[HttpHandler]
    ended: trio.Event
    _held: bytearray = attrs.field(factory=bytearray)

    async def send(self, data: bytes) -> None:
        await self.client.send_all(data)

    async def answer(self, *, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the next answer."""
        while (end := self._held.find(b"\r\n\r\n")) < 0:
            await self._more()
        status, *lines = self._held[:end].decode().split("\r\n")
        del self._held[: end + 4]
        headers = dict(line.lower().split(": ", 1) for line in lines)
        if not has_body:
            return int(status.split()[1]), headers, b""
        if "content-length" in headers:
            return int(status.split()[1]), headers, await self._take(int(headers["content-length"]))
        assert headers["transfer-encoding"] == "chunked"
        body = b""
        while True:
            while (end := self._held.find(b"\r\n")) < 0:
                await self._more()
            size = int(self._held[:end], 16)
            del self._held[: end + 2]
            body += (await self._take(size + 2))[:-2]
            if not size:
                return int(status.split()[1]), headers, body

    async def error(self) -> tuple[int, str]:
        status, headers, body = await self.answer()
        assert headers["content-type"] == "application/json"
        return status, json.loads(body)["error"]

    async def ends(self) -> bool:
        """Wait until it has ended; return whether nothing more came."""
        return not self._held and await self.client.receive_some() == b""

    async def _take(self, size: int) -> bytes:
        while len(self._held) < size:
            await self._more()
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    async def _more(self) -> None:
        data = await self.client.receive_some()
        assert data, bytes(self._held)
        self._held += data


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[Served]:
    client, stream = memory_pair()
    site, room = Site(), Room(1)
    async with trio.open_nursery() as nursery:
        handlers: list[HttpHandler] = []

        def handler(stream: object, _: object) -> HttpHandler:
            made = HttpHandler(stream, Guard(frozenset({"localhost:7"})), site, room)  # type: ignore[arg-type]
            handlers.append(made)
            return made

        policy = AcceptPolicy(max_connections=9, watch_interval=HEAD)
        server = ConnectionServer(handler, policy, nursery)
        nursery.start_soon(server.watch)
        ended = trio.Event()

        async def serve() -> None:
            await server.serve(stream, ("memory", 1))
            ended.set()

        nursery.start_soon(serve)
        await trio.testing.wait_all_tasks_blocked()
        with patient():
            yield Served(client, site, handlers[0], server, ended)
        nursery.cancel_scope.cancel()


# ---- turns -------------------------------------------------------------------------------------


async def test_requests_in_turn_on_one_connection(autojump_clock: object) -> None:
    async with served() as it:
        for number in range(3):
            await it.send(GET.replace(b"fast", b"fast?n=%d" % number))
            status, headers, body = await it.answer()
            assert (status, json.loads(body)) == (200, {"query": {"n": str(number)}})
            assert "connection" not in headers


async def test_pipelined_requests_are_answered_in_order(autojump_clock: object) -> None:
    async with served() as it:
        await it.send(post("/wait", b'{"seconds": 5}') + post("/echo", b"[1]") + GET + GET)
        answers = [await it.answer() for _ in range(4)]
        assert [json.loads(body) for _, _, body in answers] == [
            {"waited": True},
            [1],
            {"query": {}},
            {"query": {}},
        ]


async def test_byte_by_byte(autojump_clock: object) -> None:
    async with served() as it:
        for byte in post("/echo", b'{"a": 1}') + GET:
            await it.send(bytes([byte]))
        assert (await it.answer())[2] == b'{"a":1}\n'
        assert (await it.answer())[0] == 200


async def test_http_1_0_and_connection_close(autojump_clock: object) -> None:
    for request in (
        GET.replace(b"1.1", b"1.0"),
        GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    ):
        async with served() as it:
            await it.send(request + GET)
            status, headers, _ = await it.answer()
            assert (status, headers["connection"]) == (200, "close")
            assert await it.ends()


async def test_head_is_get_without_its_body(autojump_clock: object) -> None:
    async with served() as it:
        await it.send(GET)
        _, of_get, body = await it.answer()
        await it.send(GET.replace(b"GET", b"HEAD") + GET)
        status, headers, _ = await it.answer(has_body=False)
        assert (status, headers) == (200, of_get | {"date": headers["date"]})
        assert int(headers["content-length"]) == len(body)
        assert (await it.answer())[0] == 200
        await it.send(b"HEAD /large HTTP/1.1\r\nHost: localhost:7\r\n\r\n" + GET)
        assert (await it.answer(has_body=False))[0] == 200
        assert (await it.answer())[0] == 200


async def test_a_large_reply_comes_in_pieces(autojump_clock: object) -> None:
    async with served() as it:
        await it.send(b"GET /large HTTP/1.1\r\nHost: localhost:7\r\n\r\n" + GET)
        _, headers, body = await it.answer()
        assert headers["transfer-encoding"] == "chunked"
        assert json.loads(body) == list(range(100_000))
        assert (await it.answer())[0] == 200


async def test_a_client_that_waits_before_it_sends_its_body(autojump_clock: object) -> None:
    async with served() as it:
        request = post("/echo", b"[1]", "Expect: 100-continue")
        await it.send(request[:-3])
        assert await it.client.receive_some() == b"HTTP/1.1 100 \r\n\r\n"
        await it.send(b"[1]")
        assert (await it.answer())[2] == b"[1]\n"
        await it.send(post("/nowhere", b"[1]", "Expect: 100-continue")[:-3])
        status, headers, _ = await it.answer()
        assert (status, headers["connection"]) == (404, "close"), "it is not told to go on"


async def test_an_error_leaves_the_connection_where_its_end_is_known(
    autojump_clock: object,
) -> None:
    async with served() as it:
        for request, status in (
            (post("/nowhere", b"[1]"), 404),
            (post("/fast", b"[1]"), 405),
            (post("/echo", b"[1]").replace(b"application/json", b"text/plain"), 415),
            (post("/echo", b"["), 400),
            (post("/echo", b""), 400),
            (GET.replace(b"fast", b"broken"), 500),
        ):
            await it.send(request)
            found, headers, _ = await it.answer()
            assert (found, "connection" in headers) == (status, False)
        await it.send(GET)
        assert (await it.answer())[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "get"])
async def test_another_method_says_which_there_are(autojump_clock: object, method: str) -> None:
    async with served() as it:
        await it.send(GET.replace(b"GET", method.encode()))
        status, headers, body = await it.answer()
        assert (status, headers["allow"]) == (405, "get, head")
        assert json.loads(body)["error"] == f"/fast has no {method}; it has GET, HEAD"


async def test_a_body_that_may_be_missing(autojump_clock: object) -> None:
    async with served() as it:
        await it.send(
            post("/empty", b"") + post("/empty", b"", "Transfer-Encoding: chunked") + b"0\r\n\r\n"
        )
        await it.send(post("/empty", b"").replace(b"Content-Length: 0\r\n", b""))
        for _ in range(3):
            assert (await it.answer())[::2] == (201, b"{}\n")
        await it.send(post("/echo", b"").replace(b"Content-Length: 0\r\n", b""))
        assert await it.error() == (411, "a body is needed, with Content-Length")
        await it.send(post("/echo", b"", "Transfer-Encoding: chunked") + b"3\r\n[1]\r\n0\r\n\r\n")
        assert (await it.answer())[2] == b"[1]\n"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("a", "the query must be NAME=VALUE&..."),
        ("a=%ff", "the query must be NAME=VALUE&..."),
        ("a=1&a=2", "it is given twice"),
        ("&".join(f"k{n}=1" for n in range(9)), "the query must be NAME=VALUE&..."),
    ],
)
async def test_a_wrong_query(autojump_clock: object, query: str, says: str) -> None:
    async with served() as it:
        await it.send(GET.replace(b"fast", f"fast?{query}".encode()))
        assert await it.error() == (400, says)


async def test_a_defect_is_no_traceback(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with served() as it:
        await it.send(GET.replace(b"fast", b"broken"))
        assert await it.error() == (500, "this is a defect: the log of the server has more")
    assert "RuntimeError: a defect" in caplog.text
    caplog.clear()


# ---- sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [100, 100_000])
async def test_a_head_that_is_too_long(autojump_clock: object, piece: int) -> None:
    for request in (
        GET.replace(b"fast", b"x" * MAX_HEAD),
        GET.replace(b"Host", b"X: " + b"x" * MAX_HEAD + b"\r\nHost"),
        GET.replace(b"Host", b"".join(b"X%d: x\r\n" % n for n in range(2000)) + b"Host"),
        b"x" * 100_000,
    ):
        async with served() as it:
            with contextlib.suppress(trio.BrokenResourceError):
                for start in range(0, len(request), piece):
                    await it.send(request[start : start + piece])
                    await trio.testing.wait_all_tasks_blocked()
            status, says = await it.error()
            assert (status, says) == (431, "request line and headers are more than 16384 bytes")


async def test_a_body_that_is_too_long(autojump_clock: object) -> None:
    async with served() as it:
        await it.send(post("/echo", b"[]" + b" " * (MAX_BODY - 2)))
        assert (await it.answer())[2] == b"[]\n"
        await it.send(post("/echo", b" " * (MAX_BODY + 1))[:1000])
        assert await it.error() == (413, f"a body has at most {MAX_BODY} bytes")
        assert await it.ends()


@pytest.mark.parametrize(
    ("chunk", "count", "says"),
    [
        (b"4000\r\n" + b" " * 0x4000 + b"\r\n", 65, f"a body has at most {MAX_BODY} bytes"),
        (b"1\r\n \r\n", 4097, "a body of more than 4096 pieces: send fewer"),
    ],
)
async def test_chunks_without_an_end(
    autojump_clock: object, chunk: bytes, count: int, says: str
) -> None:
    async with served() as it, trio.open_nursery() as nursery:

        async def send() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                await it.send(post("/echo", b"", "Transfer-Encoding: chunked") + chunk * count)

        nursery.start_soon(send)
        assert await it.error() == (413, says)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("request_bytes", "says"),
    [
        (b"garbage\r\n\r\n", "illegal request line: 'garbage'"),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", "illegal header line: 'Host : x'"),
    ],
)
async def test_a_line_that_is_none_is_quoted(
    autojump_clock: object, request_bytes: bytes, says: str
) -> None:
    async with served() as it:
        await it.send(request_bytes)
        assert await it.error() == (400, f"not HTTP/1.1: {says}")


@pytest.mark.parametrize(
    "body", [b"x\r\n", b"-1\r\n", b"1\r\n  ", b"1;" + b"x" * 40_000, b"f" * 21 + b"\r\n"]
)
async def test_chunks_that_are_none(autojump_clock: object, body: bytes) -> None:
    async with served() as it:
        await it.send(post("/echo", b"", "Transfer-Encoding: chunked") + body)
        status, says = await it.error()
        assert status == 400
        assert says.startswith("not HTTP/1.1: ")


async def test_a_body_that_ends_too_soon(autojump_clock: object) -> None:
    async with served() as it:
        await it.send(post("/echo", b"[1]")[:-1])
        await it.client.send_eof()
        assert (await it.error())[0] == 400
        assert await it.ends()


# ---- time --------------------------------------------------------------------------------------


async def test_idle(autojump_clock: object) -> None:
    async with served() as it:
        await it.send(GET)
        await it.answer()
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()
        assert it.handler.is_idle
        assert await it.ends()
        assert IDLE <= trio.current_time() - before <= IDLE + 1


async def test_a_slow_head(autojump_clock: object) -> None:
    async with served() as it:
        before = trio.current_time()
        with contextlib.suppress(trio.BrokenResourceError):
            for byte in GET:
                await it.send(bytes([byte]))
                await trio.sleep(1)
        assert await it.error() == (408, "no whole request in 10 s")
        assert await it.ends()
        assert HEAD <= trio.current_time() - before <= len(GET)


async def test_a_slow_body(autojump_clock: object) -> None:
    async with served() as it:
        before = trio.current_time()
        with contextlib.suppress(trio.BrokenResourceError):
            for byte in post("/echo", b"[%b]" % (b" " * 1000)):
                await it.send(bytes([byte]))
                await trio.sleep(0.01 if trio.current_time() - before < 2 else 1)
        assert await it.error() == (408, "no whole body in 30 s")
        assert trio.current_time() - before >= BODY


async def test_a_client_that_does_not_read(autojump_clock: object) -> None:
    async with served() as it:
        before = trio.current_time()
        await it.send(b"GET /large HTTP/1.1\r\nHost: localhost:7\r\n\r\n")
        await it.ended.wait()
        assert STALL <= trio.current_time() - before <= STALL + 1


async def test_a_client_that_reads_slowly(autojump_clock: object) -> None:
    async with served() as it:
        await it.send(b"GET /large HTTP/1.1\r\nHost: localhost:7\r\n\r\n")
        received = 0
        while received < 300_000:
            received += len(await it.client.receive_some(50_000))
            await trio.sleep(STALL - 1)
        assert it.server.connections


# ---- ends --------------------------------------------------------------------------------------


async def test_a_wait_whose_client_has_gone(autojump_clock: object) -> None:
    for end in ("eof", "reset"):
        async with served() as it:
            before = trio.current_time()
            await it.send(post("/wait", b"{}"))
            await trio.testing.wait_all_tasks_blocked()
            assert (it.site.waits.now, it.handler.is_idle) == (1, False)
            if end == "eof":
                await it.client.send_eof()
            else:
                await it.client.aclose()
            await trio.sleep(1)
            assert (it.site.waits.now, len(it.server.connections)) == (0, 0)
            assert trio.current_time() - before <= 2


async def test_an_error_of_what_may_wait(autojump_clock: object) -> None:
    async with served() as it:
        await it.send(post("/wait", b'{"x": 1}'))
        assert await it.error() == (400, "unknown key; choose from seconds")


async def test_a_shutdown_lets_a_request_end(autojump_clock: object) -> None:
    async with served() as it, trio.open_nursery() as nursery:
        await it.send(post("/wait", b'{"seconds": 50}') + GET)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(it.server.shut_down)
        status, headers, _ = await it.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await it.ends()


@pytest.mark.parametrize("begun", [b"", b"GET /"])
async def test_a_shutdown_of_one_that_waits(autojump_clock: object, begun: bytes) -> None:
    async with served() as it:
        await it.send(begun)
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()
        await it.server.shut_down()
        assert await it.ends()
        assert trio.current_time() == before


@pytest.mark.parametrize("begun", [b"", post("/wait", b"{}")])
async def test_an_abort(autojump_clock: object, begun: bytes) -> None:
    async with served() as it:
        await it.send(begun)
        await trio.testing.wait_all_tasks_blocked()
        assert await it.server.abort() == 1
        with pytest.raises(trio.BrokenResourceError):
            await it.client.receive_some()
