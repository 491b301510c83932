"""Endpoints: what a method of a path calls, and how its body is parsed."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import attrs

from esps_portal.control.http_messages import HttpError, RequestHead
from esps_portal.journal.values import BYTE_ORDER_MARK, ScenarioError, ValueTable, read_json
from esps_portal.mock.scenario_reading import parse_toml

JSON = "application/json"
TOML = "application/toml"
# The parameters of a content type: both are UTF-8 (RFC 8259, section 8.1; TOML 1.0.0).
_CONTENT_TYPE = re.compile(r'([\w.+/-]+)(?:[ \t]*;[ \t]*charset=(?:"utf-8"|utf-8))?', re.IGNORECASE)
# Names in a query; a journal needs one.
_MAX_QUERY = 8


@attrs.frozen
class EndpointRequest:
    """A request to an endpoint, once its body and query are parsed.

    Attributes:
        value: of the body; an empty dict without one.
        query: the names in the query of the target, with their values.
        name: what the path has in place of the name of a part of it: the ID of ``/stubs/ID``.
    """

    value: object = attrs.field(factory=dict)
    query: Mapping[str, str] = attrs.field(factory=dict)
    name: str = ""

    def table(self, *keys: str) -> ValueTable:
        """Return the body as a table that may have these keys.

        Raises:
            ScenarioError: it is not a table, or has another key.
        """
        return ValueTable.of(self.value, "", keys)


#: Called with what is controlled, and the request; returns a `Reply`, or its value.
Handler = Callable[[Any, EndpointRequest], "object | Awaitable[object]"]


@attrs.frozen
class Endpoint:
    """What is done for one method of one path.

    Attributes:
        handler: see `Handler`.
        needs_body: an empty one is refused, rather than read as ``{}``.
        types: the content types that it takes.
        may_wait: it may take long: it ends when its client has gone.
        query: the names that the query of the target may have.
    """

    handler: Handler
    needs_body: bool = False
    types: tuple[str, ...] = (JSON,)
    may_wait: bool = False
    query: tuple[str, ...] = ()

    def check(self, head: RequestHead) -> None:
        """Check the headers that are about the body, before it is read.

        Raises:
            HttpError: it is of another type, or its length is not given.
        """
        if head.method not in ("POST", "PUT"):
            return
        if self._type_of(head) not in self.types:
            # Without a body too: a form of a page in a browser can send that, but not the header.
            types = " or ".join(self.types)
            raise HttpError(415, f"Content-Type must be {types}; curl sends it with --json '{{}}'")
        if head.values(b"content-encoding"):
            raise HttpError(415, "Content-Encoding is not accepted: send the body as it is")
        if self.needs_body and not head.has_length:
            raise HttpError(411, "a body is needed, with Content-Length")

    def _type_of(self, head: RequestHead) -> str:
        types = head.values(b"content-type")
        found = _CONTENT_TYPE.fullmatch(types[0].decode("latin-1")) if len(types) == 1 else None
        return found[1].lower() if found else ""

    def read(self, head: RequestHead, body: bytes) -> object:
        """Return the value of a body.

        Raises:
            HttpError, ScenarioError: it is missing, or cannot be parsed.
        """
        if not body:
            if self.needs_body:
                raise HttpError(400, "a body is needed")
            return {}
        if self._type_of(head) == TOML:
            try:
                return parse_toml(body.decode())
            except UnicodeDecodeError as error:
                raise ScenarioError("", f"not UTF-8 at byte {error.start}") from error
        # A file from Windows may begin with one (RFC 8259, section 8.1, lets a reader ignore it).
        return read_json(body.removeprefix(BYTE_ORDER_MARK.encode()))

    def read_query(self, text: str) -> dict[str, str]:
        """Return the names in a query, with their values.

        Raises:
            HttpError: it is not a query, or has a name twice.
            ScenarioError: it has a name that this endpoint does not take.
        """
        found = _parse_query(text)
        ValueTable.of(dict(found), "", self.query)
        return found


def _parse_query(text: str) -> dict[str, str]:
    if not text:
        return {}
    try:
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MAX_QUERY,
        )
    except ValueError:
        raise HttpError(400, "the query must be NAME=VALUE&...") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise HttpError(400, "it is given twice", key=name[:60])
        found[name] = value
    return found
