"""A client of HTTP/1.1 for tests: bytes as they are, or requests made by h11."""

from __future__ import annotations

import json
from typing import Any

import attrs
import h11
import trio

from tests.control.described import check_answer, check_request


@attrs.frozen
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:  # noqa: ANN401 - JSON
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The key and the message of an error."""
        value = self.value
        assert value.keys() == {"error", "key"}
        return f"{value['key']}: {value['error']}" if value["key"] else str(value["error"])


@attrs.define
class HttpClient:
    """One connection."""

    stream: trio.SocketStream
    port: int
    _http: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.CLIENT))

    @classmethod
    async def connect(cls, address: tuple[str, int]) -> HttpClient:
        return cls(await trio.open_tcp_stream(*address), address[1])

    async def send(
        self, method: str, path: str, value: object = None, **headers: str | None
    ) -> None:
        """Send a request; headers that are ``None`` are left out."""
        body = b"" if value is None else json.dumps(value).encode()
        await self.send_body(method, path, body, **headers)

    async def send_body(self, method: str, path: str, body: bytes, **headers: str | None) -> None:
        fields: dict[str, str | None] = {"Host": f"127.0.0.1:{self.port}"}
        if method in ("POST", "PUT"):
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        given = [(name, value) for name, value in fields.items() if value is not None]
        events = [
            h11.Request(method=method, target=path, headers=given),
            *([h11.Data(data=body)] if body else []),
            h11.EndOfMessage(),
        ]
        await self.stream.send_all(b"".join(self._http.send(event) or b"" for event in events))

    async def raw(self, data: bytes, method: bytes = b"GET") -> Answer:
        """Send bytes as they are, and return what answers them."""
        request = h11.Request(method=method, target="/", headers=[("Host", "x")])
        self._http.send(request)
        self._http.send(h11.EndOfMessage())
        await self.stream.send_all(data)
        return await self.answer()

    async def ask(
        self, method: str, path: str, value: object = None, **headers: str | None
    ) -> Answer:
        await self.send(method, path, value, **headers)
        answer = await self.answer()
        if method != "HEAD":
            check_answer(method, path, answer.status, answer.value)
        if value is not None and answer.status < 300:
            check_request(method, path, value)
        return answer

    async def answer(self) -> Answer:
        """Return the answer to the last request."""
        found: h11.Response | None = None
        body = b""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self.stream.receive_some())
            elif isinstance(event, h11.Response):
                found = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                assert isinstance(event, h11.InformationalResponse), event
        assert found is not None
        headers = {name.decode(): value.decode() for name, value in found.headers}
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return Answer(found.status_code, headers, body)

    async def ended(self) -> bool:
        """Wait until the server has ended the connection, after which nothing came."""
        return await self.stream.receive_some() == b""

    # -- what must succeed

    async def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        return self._of(await self.ask("GET", path))

    async def post(self, path: str, value: object = None) -> Any:  # noqa: ANN401 - JSON
        return self._of(await self.ask("POST", path, value))

    async def put(self, path: str, value: object) -> Any:  # noqa: ANN401 - JSON
        return self._of(await self.ask("PUT", path, value))

    async def delete(self, path: str) -> Any:  # noqa: ANN401 - JSON
        return self._of(await self.ask("DELETE", path))

    def _of(self, answer: Answer) -> Any:  # noqa: ANN401 - JSON
        assert answer.status in (200, 201), answer
        return answer.value
