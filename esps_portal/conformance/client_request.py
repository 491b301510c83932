"""A request of a client that is tested: parsed strictly, and recognised."""

from __future__ import annotations

import re

import attrs

from esps_portal.conformance.outcome import MismatchError

_ARGUMENT = rb'(?:""|(?:[!$&-~]|%[0-9A-F]{2})+)'
_REQUEST = re.compile(
    rb"([A-Za-z0-9._-]{1,32}) ([A-Za-z]{1,16})((?: " + _ARGUMENT + rb")*)(?: #+)?\n"
)
_MAX_LINE = 8192  # ESPS-LINE-19: all that a client may send without knowing the server's limit


@attrs.frozen
class Request:
    """A request as it came, without its padding."""

    tag: str
    verb: str
    arguments: str

    @property
    def is_call(self) -> bool:
        """Whether it is the call that every client is to make."""
        return self.verb == "CALL" and self.arguments == " echo hi"


def parse_request(line: bytes) -> Request:
    """Parse what a client has sent: a line with its LF.

    Raises:
        MismatchError: it is not a request in its canonical form.
    """
    if b"\r" in line:
        raise MismatchError("form", "a line without CR (ESPS-LINE-2)", line)
    if len(line) > _MAX_LINE:
        raise MismatchError("size", f"at most {_MAX_LINE} bytes (ESPS-LINE-19)", line[:200])
    found = _REQUEST.fullmatch(line)
    if found is None:
        raise MismatchError("form", "a request in its canonical form (ESPS-LINE-12)", line[:200])
    return Request(found[1].decode(), found[2].decode(), found[3].decode())
