"""Reads the header by which a load balancer names the client: the PROXY protocol, versions 1 and 2.

It is defined in HAProxy's "The PROXY protocol, versions 1 & 2" (proxy-protocol.txt), cited here by
its sections. The reader is pure: no clock, no socket, no trio. It is strict, takes at most
`MAX_SIZE` bytes, and none of what follows the header.
"""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address

_V1_START = b"PROXY "
#: Bytes of a header of version 1, including its CR LF (section 2.1).
MAX_V1_SIZE = 107
_V1 = re.compile(
    rb"PROXY (?:UNKNOWN(?: [ -~]*)?|TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) "
    rb"(0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4}))\r\n"
)
_V2_START = b"\r\n\r\n\x00\r\nQUIT\n"
# The start, version and command, family and transport, length of the rest (section 2.2).
_V2_FIXED = 16
_V2_LOCAL, _V2_PROXY = 0x20, 0x21
# The families that name a client: each with the address family of Python, and the bytes of both
# addresses and ports.
_V2_WITH_CLIENT = {0x11: (socket.AF_INET, 12), 0x21: (socket.AF_INET6, 36)}
# UNSPEC, and valid families that are not TCP: UDP and Unix sockets. By section 2.2 all others are
# refused, such as a family without a transport (0x10).
_V2_WITHOUT_CLIENT = frozenset({0x00, 0x12, 0x22, 0x31, 0x32})
#: Bytes of any header (ESPS-TCP-21). Own choice: the addresses and some extensions, such as those
#: of TLS.
MAX_SIZE = 4096
_MAX_PORT = 65535


class ProxyHeaderError(Exception):
    """A connection does not begin with a valid PROXY header."""


class ProxyHeader:
    r"""Reads one header, in pieces.

    Attributes:
        is_complete: whether all of it has come.
        source: the client's address and port; `None`: the header names none (LOCAL, UNKNOWN), so
            the connection's own counts.

    Example::

        header = ProxyHeader()
        header.feed(b"PROXY TCP4 192.0.2.1 192.0.2.9 4000 2867\r\n1 PING\n")  # 43
        header.source  # ("192.0.2.1", 4000)
    """

    __slots__ = ("_taken", "is_complete", "source")

    def __init__(self) -> None:
        self.is_complete: bool = False
        self.source: tuple[str, int] | None = None
        self._taken = b""

    def feed(self, data: bytes) -> int:
        """Take from ``data`` what belongs to the header; return how many bytes that is.

        Raises:
            ProxyHeaderError: it is not valid. It is raised as soon as that can be seen.
        """
        position = 0
        while position < len(data) and not self.is_complete:
            piece = data[position : position + self._missing]
            position += len(piece)
            self._taken += piece
            self._examine()
        return position

    @property
    def _missing(self) -> int:
        """How many bytes more certainly belong to the header."""
        if not self._taken.startswith(_V2_START) or len(self._taken) < _V2_FIXED:
            return 1
        return _V2_FIXED + self._v2_length - len(self._taken)

    @property
    def _v2_length(self) -> int:
        return int.from_bytes(self._taken[14:16], "big")

    def _examine(self) -> None:
        taken = self._taken
        if taken.startswith(_V1_START):
            if taken.endswith(b"\n"):
                self._read_v1()
            elif len(taken) >= MAX_V1_SIZE:
                raise ProxyHeaderError("the header does not end")
        elif taken.startswith(_V2_START):
            if len(taken) >= _V2_FIXED:
                self._read_v2()
        elif not (_V1_START.startswith(taken) or _V2_START.startswith(taken)):
            raise ProxyHeaderError("there is no header")

    def _read_v1(self) -> None:
        match = _V1.fullmatch(self._taken)
        if match is None:
            raise ProxyHeaderError("the header of version 1 is not valid")
        version, *hosts_and_ports = match.groups()
        if version is not None:
            source, destination, *ports = [text.decode("ascii") for text in hosts_and_ports]
            literal = _checked_address(source, int(version))
            _checked_address(destination, int(version))
            if max(map(int, ports)) > _MAX_PORT:
                raise ProxyHeaderError("a port is over 65535")
            self.source = (literal, int(ports[0]))
        self.is_complete = True

    def _read_v2(self) -> None:
        command, family = self._taken[12], self._taken[13]
        if command not in (_V2_LOCAL, _V2_PROXY):
            raise ProxyHeaderError("the version or the command is unknown")
        if _V2_FIXED + self._v2_length > MAX_SIZE:
            raise ProxyHeaderError("the header is too long")
        if command == _V2_PROXY and family not in _V2_WITHOUT_CLIENT:
            if family not in _V2_WITH_CLIENT:
                raise ProxyHeaderError("the address family is unknown")
            if self._v2_length < _V2_WITH_CLIENT[family][1]:
                raise ProxyHeaderError("the header is too short for its addresses")
        if len(self._taken) < _V2_FIXED + self._v2_length:
            return
        if command == _V2_PROXY and family in _V2_WITH_CLIENT:
            self.source = self._v2_source(*_V2_WITH_CLIENT[family])
        self.is_complete = True

    def _v2_source(self, family: socket.AddressFamily, size: int) -> tuple[str, int]:
        # Source, destination, port of the source, port of the destination.
        addresses = self._taken[_V2_FIXED : _V2_FIXED + size]
        host = socket.inet_ntop(family, addresses[: (size - 4) // 2])
        return host, int.from_bytes(addresses[size - 4 : size - 2], "big")


def _checked_address(host: str, version: int) -> str:
    """Return an address in its one form (RFC 5952), in which the kernel names it too."""
    try:
        address = ip_address(host)
    except ValueError:
        raise ProxyHeaderError("an address is not valid") from None
    if address.version != version:
        raise ProxyHeaderError("an address is of another family")
    return str(address)
