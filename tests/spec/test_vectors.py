"""The vectors for servers, run against the parser and against a running server."""

from __future__ import annotations

import json
import socket
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.messages import parse_request_untrusted
from tests.processes import RunningServer, running_server
from tests.spec.documents import SPEC, VECTOR_FILES, VECTORS, line_of, vectors_of


@pytest.fixture(scope="module")
def portal() -> Iterator[RunningServer]:
    with running_server() as running:
        yield running


@pytest.mark.parametrize("file", VECTOR_FILES, ids=lambda file: file.name)
def test_schema(file: Path) -> None:
    schema = json.loads((SPEC / "vectors" / "schema.json").read_text())
    jsonschema.validate(tomllib.loads(file.read_text()), schema)


def test_identifiers_are_unique() -> None:
    assert len({vector["id"] for vector in VECTORS}) == len(VECTORS)


@pytest.mark.parametrize("vector", vectors_of("codec"))
def test_codec(vector: dict[str, Any]) -> None:
    line = line_of(vector)
    if "error" in vector:
        with pytest.raises(ProtocolError) as caught:
            parse_request_untrusted(line)
        assert caught.value.code == vector["error"]
        return
    request = parse_request_untrusted(line)
    assert (request.tag.decode(), request.verb.decode()) == (vector["tag"], vector["verb"])
    assert [arg.hex() for arg in request.args] == vector["args_hex"]
    assert request.encode().decode() == vector.get("canonical", vector["line"]) + "\n"


def begins_with(line: str, expected: str) -> bool:
    """Whether the tokens of ``expected`` are the first ones of ``line``."""
    tokens = expected.split(" ")
    return line.split(" ")[: len(tokens)] == tokens


def assert_lines(lines: list[str], expected: list[str], *, in_order: bool) -> None:
    if not in_order:
        lines, expected = by_tag(lines), by_tag(expected)
    matches = len(lines) == len(expected) and all(map(begins_with, lines, expected))
    assert matches, f"expected {expected}, got {lines}"


def by_tag(lines: list[str]) -> list[str]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for line in lines:
        found[line.split(" ")[0]].append(line)
    return [line for tag in sorted(found) for line in found[tag]]


@pytest.mark.parametrize("piece", [0, 1], ids=["whole", "byte-by-byte"])
@pytest.mark.parametrize("vector", vectors_of("tcp"))
def test_tcp(vector: dict[str, Any], piece: int, portal: RunningServer) -> None:  # ESPS-LINE-11
    ends = vector.get("ends", False)
    data = (vector["send"] + ("" if ends else "zz QUIT\n")).encode()
    with socket.create_connection(("127.0.0.1", portal.port), timeout=20) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if piece and len(data) < 10_000:
            for byte in data:
                peer.send(bytes((byte,)))
        else:
            peer.sendall(data)
        with peer.makefile("rb") as answers:
            greeting, *lines = answers.read().decode("ascii").splitlines()
    assert greeting == "* ESPS/1 esps-portal/0.1.0"  # ESPS-TCP-1
    if not ends:
        assert lines.pop() == "zz OK"
    assert_lines(lines, vector["expect"], in_order=vector.get("in_order", False))


@pytest.mark.parametrize("vector", vectors_of("udp"))
def test_udp(vector: dict[str, Any], portal: RunningServer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(20)
        peer.connect(("127.0.0.1", portal.port))
        # Replies keep the order of the requests, so the next reply proves a silence.
        for step in vector["steps"]:
            peer.send(step["send"].encode())
            if "expect" in step:
                answer = peer.recv(65536).decode("ascii")
                expected = step["expect"].removesuffix("\n")
                assert begins_with(answer.removesuffix("\n"), expected)
                assert answer.endswith("\n")
                assert len(answer) <= 3 * len(step["send"])  # ESPS-UDP-12
        peer.send(b"last PING\n")
        assert peer.recv(65536) == b"last OK\n"
