"""The fingerprints in recog's form against their examples, and nmap's matches against the same."""

from __future__ import annotations

import base64
import itertools
import re
import socket
from xml.etree import ElementTree as ET

import attrs
import pytest

from esps_portal.product import PRODUCT
from esps_portal.signatures import SIGNATURES
from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.signatures.nmap_files import first_match, sections

NULL, TCP, UDP = "Probe TCP NULL", "Probe TCP EspsHello", "Probe UDP EspsHello"

# What other servers send first, some of which begins alike.
OTHERS = [
    "* OK [CAPABILITY IMAP4rev1] ready\r\n",
    "* BYE busy for now\r\n",
    "* BYE Autologout; idle for too long\r\n",
    "* BYE idle\n",
    '* ACAP (IMPLEMENTATION "x")\r\n',
    "* ESPS/10 other/1\n",
    "* ESPS/1\n",
    "* ESPS/1 product-without-version\n",
    "* ESPS/1 a/b/c\n",
    "x* ESPS/1 other/1\n",
    "220 ESPS/1 mail.example ESMTP\r\n",
    "HTTP/1.1 400 Bad Request\r\n\r\n",
    "nmap HELLO ESPS/1\n",
    "nmap BAD command unknown\r\n",
    "-ERR unknown command 'nmap'\r\n",
]


@attrs.frozen
class Fingerprint:
    """A fingerprint, as recog reads it."""

    description: str
    pattern: re.Pattern[str]
    params: dict[str, int | str]  # the number of a group, or a constant
    examples: list[tuple[str, dict[str, str]]]

    def read(self, response: str) -> dict[str, str] | None:
        """Return the parameters; ``None`` if it does not match."""
        found = self.pattern.search(response)
        if found is None:
            return None
        return {
            name: found[value] if isinstance(value, int) else value
            for name, value in self.params.items()
        }


def fingerprints() -> list[Fingerprint]:
    root = ET.fromstring(SIGNATURES["recog"].read())  # noqa: S314 - our own file
    assert root.tag == "fingerprints"
    assert set(root.attrib) == {"matches", "protocol", "database_type", "preference"}
    read = []
    for element in root:
        assert {child.tag for child in element} == {"description", "example", "param"}
        params: dict[str, int | str] = {}
        for param in element.iter("param"):
            position = int(param.attrib["pos"])
            params[param.attrib["name"]] = position or param.attrib["value"]
        read.append(
            Fingerprint(
                element.findtext("description", ""),
                # In Ruby ^ and $ are those of a line.
                re.compile(element.attrib["pattern"], re.ASCII | re.MULTILINE),
                params,
                [_example(example) for example in element.iter("example")],
            )
        )
    return read


def _example(element: ET.Element) -> tuple[str, dict[str, str]]:
    attributes = dict(element.attrib)
    text = element.text or ""
    if attributes.pop("_encoding", None) == "base64":
        text = base64.b64decode(text, validate=True).decode()
    return text, attributes


FINGERPRINTS = fingerprints()
EXAMPLES = [
    pytest.param(number, text, expected, id=text.partition("\n")[0][:40])
    for number, fingerprint in enumerate(FINGERPRINTS)
    for text, expected in fingerprint.examples
]


@pytest.mark.parametrize(("number", "text", "expected"), EXAMPLES)
def test_an_example_has_its_parameters(number: int, text: str, expected: dict[str, str]) -> None:
    first = next(f for f in FINGERPRINTS if f.pattern.search(text))
    assert first is FINGERPRINTS[number], "an earlier one matches it too"
    constants = {n: str(v) for n, v in first.params.items() if not isinstance(v, int)}
    assert first.read(text) == {**expected, **constants}


@pytest.mark.parametrize("fingerprint", FINGERPRINTS, ids=lambda f: f.description)
def test_each_parameter_has_an_example(fingerprint: Fingerprint) -> None:
    from_groups = {name for name, value in fingerprint.params.items() if isinstance(value, int)}
    assert fingerprint.examples
    for _, expected in fingerprint.examples:
        assert set(expected) == from_groups
    assert fingerprint.pattern.groups == len(from_groups)


@pytest.mark.parametrize(("number", "text", "expected"), EXAMPLES)
def test_nmap_reads_an_example_alike(number: int, text: str, expected: dict[str, str]) -> None:
    probes = [NULL] if text.startswith("* ") else [TCP, UDP]
    line = text.removesuffix("\n")
    for probe, end in itertools.product(probes, ("\n", "\r\n")):
        read = first_match(probe, line + end)
        assert read is not None
        assert read.get("product") == expected.get("service.product")
        assert read.get("version") == expected.get("service.version")
        if read["service"] == "ssl":  # nmap begins again over TLS
            assert text.startswith("* ERR bad-line")
            continue
        assert read["info"].startswith(f"ESPS/{expected.get('esps.version', '1')}")


def test_nmap_has_an_example_for_each_match() -> None:
    answers = [text for f in FINGERPRINTS for text, _ in f.examples]
    for probe, matches in sections().items():
        for match in matches:
            assert any(match.read(f"{text}\n") for text in answers), (probe, match)


@pytest.mark.parametrize("response", OTHERS)
def test_no_signature_takes_another_server_for_one(response: str) -> None:
    assert [f.description for f in FINGERPRINTS if f.read(response)] == []
    assert [probe for probe in sections() if first_match(probe, response)] == []


def test_the_greeting_decides_whatever_was_sent(portal: ThreadedPortal) -> None:
    """Scanners also look at the responses to requests of other protocols."""
    for opening in (
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x16\x03\x00\x00S\x01\x00\n",
        b"EHLO\r\n",
        b"\r\n",
    ):
        with socket.create_connection((portal.host, portal.port), 30) as client:
            client.sendall(opening)
            client.shutdown(socket.SHUT_WR)
            with client.makefile("r", encoding="ascii") as lines:
                response = lines.read()
        product, version = PRODUCT.split("/")
        read = first_match(TCP, response)
        expected = {"product": product, "version": version, "info": "ESPS/1"}
        assert read == {"service": "esps-portal", **expected}
        found = FINGERPRINTS[0].read(response)
        assert found is not None
        assert (found["service.product"], found["service.version"]) == (product, version)
