"""One connection of HTTP/1.1, without I/O: bytes become requests, replies become bytes.

h11 parses. Some of what it accepts is rejected: HTTP/1.0 without Host (by the guard);
Content-Length beside Transfer-Encoding, of which two parsers may choose different ones (RFC 9112,
section 6.1); other versions; a head of any size that arrives at once; a body in any number of
chunks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from email.utils import formatdate
from http import HTTPStatus

import h11

from esps_portal.control.http_messages import BODYLESS, HttpError, Reply, RequestHead
from esps_portal.control.json_blocks import json_blocks
from esps_portal.product import PRODUCT

#: Bytes of a request line with its headers: the usual limit of servers (nginx takes four buffers of
#: 8 KiB, Apache 8 KiB for each line).
MAX_HEAD = 16_384
#: Bytes of a body: a scenario of some thousand stubs.
MAX_BODY = 1 << 20
# Chunks of a body; clients send kilobytes in each, and one of a byte costs as much time.
_MAX_CHUNKS = 4096

_VERSIONS = {b"1.0", b"1.1"}
_HEADERS = (
    ("Server", PRODUCT),
    ("Content-Type", "application/json"),
    ("Cache-Control", "no-store"),
    # No web page may embed it as a script, an image or a frame.
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
# How h11 quotes a line in its errors: as an object of Python.
_BYTES = re.compile(r"bytearray\(b(.*)\)$", re.DOTALL)


class HttpConnection:
    """What one client has sent, and is to be sent.

    For each request call in turn: `next_head` and `next_body`, each again after `receive` while it
    returns ``None``; `encode_reply`; and `start_next_cycle`.
    """

    def __init__(self) -> None:
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._body = bytearray()
        self._chunks = 0
        #: The client has sent FIN, and what came before it was read.
        self.is_closed: bool = False
        #: A request has begun to come.
        self.has_begun: bool = False

    def receive(self, data: bytes) -> None:
        """Take what was read; ``b""`` is FIN."""
        self._h11.receive_data(data)
        self.has_begun = self.has_begun or bool(data)

    def next_head(self) -> RequestHead | None:
        """Return the next request without its body.

        Raises:
            HttpError: what came is not a request; the connection must end.
        """
        event = self._next_event()
        if not isinstance(event, h11.Request):
            self.is_closed = isinstance(event, h11.ConnectionClosed)
            return None
        head = RequestHead(
            event.method.decode("ascii"),
            event.target.decode("ascii"),
            event.http_version.decode("ascii"),
            tuple(event.headers),
        )
        if event.http_version not in _VERSIONS:
            raise HttpError(505, f"HTTP/{head.version} is not supported: use HTTP/1.1")
        _check_size(head)
        _check_length(head)
        self._body.clear()
        self._chunks = 0
        if head.length == 0:
            self._next_event()  # the end of its body
        return head

    @property
    def has_unread_body(self) -> bool:
        """Whether a body is still to come: no request after it can be found."""
        return self._h11.their_state in (h11.SEND_BODY, h11.ERROR)

    def next_body(self) -> bytes | None:
        """Return the body, once it has come as a whole.

        Raises:
            HttpError: it is too long, or its chunks are none; the connection must end.
        """
        if not self.has_unread_body:
            return bytes(self._body)
        while True:
            event = self._next_event(in_body=True)
            if isinstance(event, h11.EndOfMessage):
                return bytes(self._body)
            if not isinstance(event, h11.Data):
                return None
            self._body += event.data
            self._chunks += 1
            if len(self._body) > MAX_BODY:
                raise too_long()
            if self._chunks > _MAX_CHUNKS:
                raise HttpError(413, f"a body of more than {_MAX_CHUNKS} pieces: send fewer")

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for the `continue_response` before it sends its body."""
        return self._h11.they_are_waiting_for_100_continue

    def continue_response(self) -> bytes:
        """Return ``100 Continue``, for which a client may wait before it sends its body."""
        return self._h11.send(h11.InformationalResponse(status_code=100, headers=[]))

    def encode_reply(self, reply: Reply, *, close: bool, only_head: bool) -> Iterator[bytes]:
        """Yield a reply piece by piece; each is encoded when it is asked for.

        Args:
            close: the connection ends after it.
            only_head: without its body, as HEAD wants it.
        """
        blocks = json_blocks(reply.value)
        first, second = next(blocks), next(blocks, b"")
        headers = [*_HEADERS, ("Date", formatdate(usegmt=True)), *reply.headers.items()]
        if not second:
            headers.append(("Content-Length", str(len(first))))
        if close:
            headers.append(("Connection", "close"))
        reason = HTTPStatus(reply.status).phrase
        head = h11.Response(status_code=reply.status, headers=headers, reason=reason)
        start = self._h11.send(head)
        if not only_head:
            start += self._h11.send(h11.Data(data=first + second))
        if only_head or not second:
            yield start + self._h11.send(h11.EndOfMessage())
            return
        yield start
        for block in blocks:
            yield self._h11.send(h11.Data(data=block))
        yield self._h11.send(h11.EndOfMessage())

    def start_next_cycle(self) -> bool:
        """Get ready for the next request, after a reply; return whether one may come."""
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        self.has_begun = bool(self._h11.trailing_data[0])
        return True

    def _next_event(self, *, in_body: bool = False) -> object:
        try:
            return self._h11.next_event()
        except h11.RemoteProtocolError as error:
            status = 400 if in_body else error.error_status_hint
            if status == 431:  # noqa: PLR2004 - the status of RFC 6585, section 5
                raise _head_too_long() from error
            reason = _BYTES.sub(r"\1", str(error))
            raise HttpError(status, f"not HTTP/1.1: {reason}") from error


def _check_size(head: RequestHead) -> None:
    size = len(head.method) + len(head.target) + sum(len(n) + len(v) + 4 for n, v in head.headers)
    if size > MAX_HEAD:
        raise _head_too_long()


def _check_length(head: RequestHead) -> None:
    """Check that there is one length of the body at most, and one that is taken."""
    in_chunks = bool(head.values(b"transfer-encoding"))
    if in_chunks and (head.values(b"content-length") or head.version != "1.1"):
        raise HttpError(400, "Transfer-Encoding goes with HTTP/1.1, and without Content-Length")
    length = math.inf if head.length is None else head.length
    if length and head.method in BODYLESS:
        raise HttpError(400, f"{head.method} takes no body")
    if head.length is not None and head.length > MAX_BODY:
        raise too_long()


def _head_too_long() -> HttpError:
    return HttpError(431, f"request line and headers are more than {MAX_HEAD} bytes")


def too_long() -> HttpError:
    """Return the error for a body that is too long."""
    return HttpError(413, f"a body has at most {MAX_BODY} bytes")
