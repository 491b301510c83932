"""The bytes of a capture that Wireshark opens, made from what a relay saw.

A relay sees connections, units and datagrams, but no packets: their headers are made here, such as
they would be without loss. TCP connections have a handshake, right sequence numbers and an
acknowledgement after each unit; all checksums are right. A packet goes from the client's own
address and port to the upstream's, or back. The upstream's port stands in it, and not the relay's,
so that a reader of the capture dissects the protocol that is spoken there.

Client and upstream of a packet must be of one family. If the upstream is a name, or of another
family than the client, its address in the capture is 127.0.0.1 or ::1. An IPv4 client of an IPv6
socket (``::ffff:192.0.2.1``) is an IPv4 client.

No library is used: scapy 2.8 is well kept, but GPL-2.0, 24 MB large and half a second to import;
dpkt 1.9.8 and python-pcapng 2.1.1 are untyped and without a release since 2022. All of them leave
the state of a connection, which is half of this module, to their user.

The format is pcap (draft-ietf-opsawg-pcap): little-endian; with microseconds, as much as a float
holds of a time since the epoch; of IP packets without a link layer, so that both families fit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from typing import Literal

import attrs

from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

Side = Literal["client", "server"]

HEADER_SIZE = 24
RECORD_HEADER_SIZE = 16
MAX_PACKET = 262_144  # the usual "snap length": no record of a capture is longer

_HEADER = struct.Struct("<IHHiIII")
_MAGIC = 0xA1B2C3D4
_VERSION = (2, 4)
_LINKTYPE_RAW = 101

_RECORD = struct.Struct("<IIII")  # seconds, microseconds, bytes here, bytes on the wire

_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_IPV6_ADDRESS = 16  # bytes
_DONT_FRAGMENT = 0x4000
_HOPS = 64
_UDP = 17
_TCP = 6

_FIN, _SYN, _RST, _PSH, _ACK = 0x01, 0x02, 0x04, 0x08, 0x10
# A segment with as much payload fits in a packet of either family (at most 65,535 bytes over IPv4).
MAX_SEGMENT = 65_495
_WINDOW = 65_535
# The options of a SYN: MAX_SEGMENT, and windows of a gigabyte, so that none is ever full.
_SYN_OPTIONS = struct.pack("!BBHBBBB", 2, 4, MAX_SEGMENT, 1, 3, 3, 14)

_Endpoint = tuple[bytes, int]  # packed address, port
_Key = tuple[int, tuple[str, int]]  # of a connection: its number and remote


@attrs.define(eq=False)
class _Connection:
    """A TCP connection: who it is between, and how far each side is.

    Attributes:
        endpoints: the address and port of each side.
        sequence: the sequence number of the next byte of each side.
        finished: the sides that sent FIN.
    """

    endpoints: dict[Side, _Endpoint]
    sequence: dict[Side, int]
    finished: set[Side] = attrs.Factory(set)

    def segment(
        self, sender: Side, flags: int, data: bytes = b"", options: bytes = b""
    ) -> tuple[_Endpoint, _Endpoint, int, bytes]:
        """Return a segment as the arguments of `_packet`, and count its bytes."""
        receiver = _other(sender)
        source, destination = self.endpoints[sender], self.endpoints[receiver]
        sequence = self.sequence[sender]
        header = struct.pack(
            "!HHIIBBHHH",
            source[1],
            destination[1],
            sequence,
            self.sequence[receiver] if flags & _ACK else 0,
            (20 + len(options)) // 4 << 4,
            flags,
            _WINDOW,
            0,
            0,
        )
        # SYN and FIN count as one byte each.
        taken = len(data) + bool(flags & (_SYN | _FIN))
        self.sequence[sender] = (sequence + taken) % 2**32
        return source, destination, _TCP, header + options + data


class Capture:
    r"""Makes the bytes of a capture. Does no input or output.

    What it returns belongs in the file in the same order, after `header`. Times, ``at``, are
    seconds since the Unix epoch. A ``remote`` is the client's numeric address and port; a
    ``connection`` is a number that no other open connection of that remote has.

    Args:
        upstream: the host and port that the client's packets go to; the host may be a name.

    Example::

        capture = Capture(("127.0.0.1", 6379))
        file.write(capture.header())
        file.write(capture.opened(1, remote, time.time()))
        file.write(capture.unit(1, remote, "client", b"PING\r\n", time.time()))
        file.write(capture.closed(1, remote, "client", "fin", time.time()))
    """

    def __init__(self, upstream: tuple[str, int]) -> None:
        host, self._port = upstream
        self._connections: dict[_Key, _Connection] = {}
        # The upstream's packed address, by the length of the client's.
        loopback = [_packed("127.0.0.1"), _packed("::1")]
        self._upstream = {len(address): address for address in loopback}
        try:
            address = _packed(host)
        except ValueError:
            return  # a name
        self._upstream[len(address)] = address

    def header(self) -> bytes:
        """Return the bytes that every capture begins with."""
        return _HEADER.pack(_MAGIC, *_VERSION, 0, 0, MAX_PACKET, _LINKTYPE_RAW)

    def opened(self, connection: int, remote: tuple[str, int], at: float) -> bytes:
        """Return the handshake of a connection.

        Raises:
            ValueError: the remote's host is not a numeric address. So do all the other methods.
        """
        started = self._start(connection, remote, at)
        return (
            _packet(at, *started.segment("client", _SYN, options=_SYN_OPTIONS))
            + _packet(at, *started.segment("server", _SYN | _ACK, options=_SYN_OPTIONS))
            + _packet(at, *started.segment("client", _ACK))
        )

    def unit(
        self, connection: int, remote: tuple[str, int], sender: Side, data: bytes, at: float
    ) -> bytes:
        """Return the segments of a unit, and the receiver's acknowledgement.

        A connection that was not opened in this capture, or has ended, begins here without a
        handshake, as one does that is older than its capture.
        """
        if not data:
            return b""
        found = self._connections.get((connection, remote)) or self._start(connection, remote, at)
        packets = [
            _packet(at, *found.segment(sender, _ACK | (_PSH if last else 0), part))
            for part, last in _parts(data)
        ]
        return b"".join([*packets, _packet(at, *found.segment(_other(sender), _ACK))])

    def closed(
        self,
        connection: int,
        remote: tuple[str, int],
        by: Side,
        how: Literal["fin", "rst"],
        at: float,
    ) -> bytes:
        """Return the end of one direction (``fin``), or of the connection (``rst``).

        After a FIN the other side may still send; with the FIN of both the connection has ended.
        Nothing is returned for a side that has already sent its FIN, and for a connection that has
        ended or of which nothing was seen.
        """
        found = self._connections.get((connection, remote))
        if found is None:
            return b""
        if how == "rst":
            del self._connections[connection, remote]
            return _packet(at, *found.segment(by, _RST | _ACK))
        if by in found.finished:
            return b""
        found.finished.add(by)
        if len(found.finished) == len(found.endpoints):
            del self._connections[connection, remote]
        return _packet(at, *found.segment(by, _FIN | _ACK)) + _packet(
            at, *found.segment(_other(by), _ACK)
        )

    def datagram(self, remote: tuple[str, int], sender: Side, data: bytes, at: float) -> bytes:
        """Return a datagram: at most 65,507 bytes over IPv4, 65,527 over IPv6."""
        ends = self._endpoints(remote)
        source, destination = ends[sender], ends[_other(sender)]
        header = struct.pack("!HHHH", source[1], destination[1], 8 + len(data), 0)
        return _packet(at, source, destination, _UDP, header + data)

    def _start(self, connection: int, remote: tuple[str, int], at: float) -> _Connection:
        # Initial sequence numbers grow with time (RFC 9293, section 3.4.1), so that a reader can
        # tell connections from the same port apart, also after the capture was continued.
        initial = (round(at * 250_000) + connection * 64_000) % 2**32
        started = _Connection(
            self._endpoints(remote),
            {"client": initial, "server": initial ^ 0x8000_0000},
        )
        self._connections[connection, remote] = started
        return started

    def _endpoints(self, remote: tuple[str, int]) -> dict[Side, _Endpoint]:
        client = _packed(remote[0])
        return {
            "client": (client, remote[1]),
            "server": (self._upstream[len(client)], self._port),
        }


def record_size(header: bytes) -> int:
    """Return how many bytes follow a record's header, `RECORD_HEADER_SIZE` bytes, in a capture."""
    size: int = _RECORD.unpack(header)[2]
    return size


def is_own_header(header: bytes) -> bool:
    """Whether a capture that begins with these bytes can be continued with those of a `Capture`."""
    if len(header) < HEADER_SIZE:
        return False
    magic, *version, _, _, _, link_type = _HEADER.unpack(header[:HEADER_SIZE])
    return (magic, tuple(version), link_type) == (_MAGIC, _VERSION, _LINKTYPE_RAW)


def _other(side: Side) -> Side:
    return "server" if side == "client" else "client"


def _packed(host: str) -> bytes:
    address = ip_address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.packed


def _parts(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield the data in parts that fit in a segment, and whether a part is the last."""
    for start in range(0, len(data), MAX_SEGMENT):
        yield data[start : start + MAX_SEGMENT], start + MAX_SEGMENT >= len(data)


def _packet(
    at: float, source: _Endpoint, destination: _Endpoint, protocol: int, payload: bytes
) -> bytes:
    """Return the record of an IP packet, after filling in the checksums."""
    ends = source[0] + destination[0]
    checksum = _checksum(ends + struct.pack("!II", len(payload), protocol) + payload)
    where = 16 if protocol == _TCP else 6
    if protocol == _UDP:
        checksum = checksum or 0xFFFF  # 0 means that there is none (RFC 768)
    payload = payload[:where] + checksum.to_bytes(2) + payload[where + 2 :]
    packet = _ip_header(source[0], destination[0], protocol, len(payload)) + payload
    seconds, microseconds = divmod(round(at * 1_000_000), 1_000_000)
    return _RECORD.pack(seconds % 2**32, microseconds, len(packet), len(packet)) + packet


def _ip_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    if len(source) == _IPV6_ADDRESS:
        return _IPV6.pack(6 << 28, length, protocol, _HOPS, source, destination)

    def header(checksum: int) -> bytes:
        return _IPV4.pack(
            *(0x45, 0, 20 + length, 0, _DONT_FRAGMENT, _HOPS, protocol),
            *(checksum, source, destination),
        )

    return header(_checksum(header(0)))


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of bytes that are not all zero.

    A sum in one's complement is the remainder of a division by 2**16 - 1, with that for 0: a
    large integer does it many times faster than a loop.
    """
    if len(data) % 2:
        data += b"\0"
    return 0xFFFF - (int.from_bytes(data) % 0xFFFF or 0xFFFF)
