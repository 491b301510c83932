"""What tshark says about a capture, with the dissector of this package alone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

import attrs
import pytest

from esps_portal.journal.pcap import (
    HEADER_SIZE,
    RECORD_HEADER_SIZE,
    Capture,
    Side,
    record_size,
)
from esps_portal.signatures import SIGNATURES

CLIENT = "192.0.2.7"
SERVER = "192.0.2.1"

Said = tuple[Side, bytes]


@attrs.frozen
class Line:
    """A line of ESPS/1 as the dissector shows it.

    Attributes:
        frame: the number of the packet.
        fields: what each field shows, under its name without ``esps.``.
        size: the bytes that it marks.
    """

    frame: int
    fields: dict[str, list[str]]
    size: int

    def get(self, name: str) -> str | None:
        """Return the only value of a field; ``None`` if it is absent."""
        values = self.fields.get(name)
        if values is None:
            return None
        (value,) = values
        return value


Dissect = Callable[..., list[Line]]


def of_tcp(
    *conversations: Iterable[Said], port: int = 2867, client_port: int = 50_000
) -> pytest.MarkDecorator:
    """Mark a test that gets, as ``lines``, the dissection of a `tcp_capture`."""
    capture = partial(tcp_capture, *conversations, port=port, client_port=client_port)
    return pytest.mark.dissected.with_args(capture)


def of_udp(*conversations: Iterable[Said], port: int = 2867) -> pytest.MarkDecorator:
    """Mark a test that gets, as ``lines``, the dissection of a `udp_capture`."""
    return pytest.mark.dissected.with_args(partial(udp_capture, *conversations, port=port))


def packets_of(capture: bytes) -> list[bytes]:
    """Return the packets of a capture, each with its header."""
    packets, place = list[bytes](), HEADER_SIZE
    while place < len(capture):
        header = capture[place : place + RECORD_HEADER_SIZE]
        end = place + RECORD_HEADER_SIZE + record_size(header)
        packets.append(capture[place:end])
        place = end
    return packets


def tcp_capture(
    *conversations: Iterable[Said],
    port: int = 2867,
    client_port: int = 50_000,
    address: str = CLIENT,
) -> bytes:
    """Return a capture of connections one after the other, a segment every quarter of a second."""
    capture = Capture((SERVER, port))
    parts = [capture.header()]
    for number, said in enumerate(conversations, 1):
        client = (address, client_port + number - 1)
        parts.append(capture.opened(1, client, 1000 * number))
        parts += [
            capture.unit(1, client, side, data, 1000 * number + count / 4)
            for count, (side, data) in enumerate(said, 1)
        ]
    return b"".join(parts)


def udp_capture(*conversations: Iterable[Said], port: int = 2867, address: str = CLIENT) -> bytes:
    """Return a capture of datagrams of several clients, one every quarter of a second."""
    capture = Capture((SERVER, port))
    datagrams = [
        capture.datagram((address, 50_000 + number), side, data, 1000 * number + count / 4)
        for number, said in enumerate(conversations, 1)
        for count, (side, data) in enumerate(said, 1)
    ]
    return b"".join([capture.header(), *datagrams])


def run_tshark(tshark: str, folder: Path, capture: bytes, *options: str) -> bytes:
    """Return what tshark prints about a capture in two passes; it must have nothing to complain."""
    script, file = folder / SIGNATURES["wireshark"].file, folder / "dissected.pcap"
    script.write_text(SIGNATURES["wireshark"].read(), encoding="ascii")
    file.write_bytes(capture)
    ran = subprocess.run(
        [tshark, "-n", "-2", "-X", f"lua_script:{script}", "-r", str(file), *options],
        # Without the preferences of whoever runs the tests.
        env={**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
        capture_output=True,
        check=True,
        timeout=100,
    )
    complaints = [
        line for line in ran.stderr.decode().splitlines() if not line.startswith("Running as user")
    ]
    assert complaints == []
    assert b"Lua Error" not in ran.stdout
    return ran.stdout


def lines_of(pdml: bytes) -> Iterator[Line]:
    """Yield the lines of ESPS/1 in a dissection, in order."""
    for packet in ET.fromstring(pdml).iter("packet"):  # noqa: S314 - written by tshark
        number = packet.find("proto[@name='geninfo']/field[@name='num']")
        assert number is not None
        for shown in packet.iterfind("proto[@name='esps']"):
            fields: dict[str, list[str]] = {}
            for field in shown.iter("field"):
                name = field.attrib["name"].removeprefix("esps.")
                fields.setdefault(name, []).append(field.get("show", ""))
            yield Line(int(number.attrib["show"]), fields, int(shown.attrib["size"]))
