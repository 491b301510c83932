"""Requests and replies of HTTP as values. No bytes of a connection, no clock, no socket."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

#: Methods that carry no body.
BODYLESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


class HttpError(Exception):
    """A request is answered by an error.

    Attributes:
        status: of HTTP.
        message: what is wrong, in one line.
        key: of the body, or the query, that is wrong; empty for none.
        headers: that the reply has besides.
    """

    def __init__(
        self, status: int, message: str, *, key: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.key = key
        self.headers: dict[str, str] = dict(headers or {})

    def __str__(self) -> str:
        return f"{self.status} {self.key}: {self.message}" if self.key else self.message


@attrs.frozen
class RequestHead:
    """A request without its body.

    Attributes:
        method: in the case in which it came: methods are case-sensitive.
        target: as it came, a path with its query in most cases.
        version: ``1.1`` or ``1.0``, or whatever came.
        headers: the name of each in lower case.
    """

    method: str
    target: str
    version: str
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def values(self, name: bytes) -> list[bytes]:
        """Return the value of each header with a name, which is in lower case."""
        return [value for each, value in self.headers if each == name]

    @property
    def path(self) -> str:
        """The path of the target."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The query of the target; empty for none."""
        return self.target.partition("?")[2]

    @property
    def has_length(self) -> bool:
        """Whether it says how long its body is."""
        return bool(self.values(b"content-length") or self.values(b"transfer-encoding"))

    @property
    def length(self) -> int | None:
        """The length of its body in bytes; ``None``: it comes in chunks."""
        if self.values(b"transfer-encoding"):
            return None
        return int(next(iter(self.values(b"content-length")), 0))


@attrs.frozen
class Reply:
    """A reply.

    Attributes:
        value: for JSON. An iterator is an array, whose items are made while it is sent.
    """

    value: object = attrs.field(factory=dict)
    status: int = 200
    headers: dict[str, str] = attrs.field(factory=dict)

    @classmethod
    def of_error(cls, error: HttpError) -> Reply:
        """Return the reply for an error: the message, and the key that is wrong."""
        value = {"error": error.message, "key": error.key}
        return cls(value, error.status, error.headers)
