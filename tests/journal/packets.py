"""An independent reader of captures: packets with their checksums, and TCP streams put together."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import attrs

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10


@attrs.frozen
class Packet:
    """A packet of TCP or UDP; of a datagram sequence, ack and flags are 0."""

    seconds: float
    protocol: str
    source: tuple[str, int]
    destination: tuple[str, int]
    sequence: int
    ack: int
    flags: int
    data: bytes


def read_capture(capture: bytes) -> list[Packet]:
    """Return the packets of a whole capture."""
    magic, major, minor, zone, accuracy, longest, link = struct.unpack("<IHHiIII", capture[:24])
    assert (magic, major, minor, zone, accuracy, link) == (0xA1B2C3D4, 2, 4, 0, 0, 101)
    return list(read_records(capture[24:], longest))


def read_records(records: bytes, longest: int = 262_144) -> Iterator[Packet]:
    """Yield the packets of the records of a capture, which must be complete."""
    while records:
        seconds, micros, kept, original = struct.unpack("<IIII", records[:16])
        assert micros < 1_000_000
        assert kept == original <= longest
        assert len(records) >= 16 + kept
        yield _read_ip(seconds + micros / 1e6, records[16 : 16 + kept])
        records = records[16 + kept :]


def _read_ip(seconds: float, packet: bytes) -> Packet:
    if packet[0] >> 4 == 4:
        family, end = socket.AF_INET, 20
        assert packet[0] & 15 == 5
        assert int.from_bytes(packet[2:4]) == len(packet)
        assert packet[8] > 0, "hops"
        assert _sum(packet[:20]) == 0xFFFF, "checksum of the IPv4 header"
        number, addresses = packet[9], packet[12:20]
    else:
        family, end = socket.AF_INET6, 40
        assert packet[0] >> 4 == 6
        assert int.from_bytes(packet[4:6]) == len(packet) - 40
        assert packet[7] > 0, "hops"
        number, addresses = packet[6], packet[8:40]
    payload = packet[end:]
    pseudo_header = addresses + struct.pack("!II", len(payload), number)
    assert _sum(pseudo_header + payload) == 0xFFFF, "checksum of the payload"
    half = len(addresses) // 2
    source, destination = (
        (socket.inet_ntop(family, address), port)
        for address, port in zip(
            (addresses[:half], addresses[half:]), struct.unpack("!HH", payload[:4]), strict=True
        )
    )
    if number == 17:
        length, checksum = struct.unpack("!HH", payload[4:8])
        assert (length, checksum != 0) == (len(payload), True)
        return Packet(seconds, "udp", source, destination, 0, 0, 0, payload[8:])
    assert number == 6
    sequence, ack, offset, flags = struct.unpack("!IIBB", payload[4:14])
    data = payload[(offset >> 4) * 4 :]
    return Packet(seconds, "tcp", source, destination, sequence, ack, flags, data)


def _sum(data: bytes) -> int:
    """Add up 16-bit words in one's complement, as RFC 1071 does."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@attrs.define
class Stream:
    """A TCP connection put together: what each side sent, and what ended it."""

    client: tuple[str, int]
    server: tuple[str, int]
    sent: dict[tuple[str, int], bytearray]
    ended: list[tuple[str, str]]

    def said(self) -> tuple[bytes, bytes]:
        """Return what the client and the server sent."""
        return bytes(self.sent[self.client]), bytes(self.sent[self.server])


def read_streams(packets: list[Packet]) -> list[Stream]:
    """Put connections together; every sequence number and acknowledgement must be right."""
    streams: list[Stream] = []
    following: dict[tuple[tuple[str, int], tuple[str, int]], int] = {}
    current: dict[frozenset[tuple[str, int]], Stream] = {}
    for packet in packets:
        ends = (packet.source, packet.destination)
        back = ends[::-1]
        if packet.flags == SYN:
            for old in (ends, back):
                following.pop(old, None)
            stream = Stream(*ends, {end: bytearray() for end in ends}, [])
            streams.append(stream)
            current[frozenset(ends)] = stream
        stream = current[frozenset(ends)]
        if packet.flags & SYN:
            following[ends] = packet.sequence
        assert packet.sequence == following[ends]
        taken = len(packet.data) + bool(packet.flags & (SYN | FIN))
        following[ends] = (packet.sequence + taken) % 2**32
        if packet.flags & ACK:
            assert packet.ack == following[back]
        stream.sent[packet.source] += packet.data
        side = "client" if packet.source == stream.client else "server"
        if packet.flags & (FIN | RST):
            stream.ended.append((side, "fin" if packet.flags & FIN else "rst"))
    return streams
