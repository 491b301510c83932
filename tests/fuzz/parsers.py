"""What reads a stranger's bytes without a socket: only its own error may come out, in no time."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count

import attrs
import click

from esps_portal.cli.fault_parameter import FaultParameter
from esps_portal.framings.framing import FramingError
from esps_portal.framings.parse import parse_framing
from esps_portal.framings.splitter import FrameSplitter
from esps_portal.journal.recorded_dialogues import read_dialogues
from esps_portal.journal.recording import RecordingError, read_recording
from esps_portal.journal.values import ScenarioError, read_json
from esps_portal.mock.frame_replay import FrameReplay
from esps_portal.mock.replay import replay
from esps_portal.mock.scenario_reading import read_scenario, read_scenario_toml
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.net.proxy_header import ProxyHeader, ProxyHeaderError
from esps_portal.protocol.client_connection import ClientConnection
from esps_portal.protocol.errors import EspsError, ProtocolError
from esps_portal.protocol.pending_request import PendingRequest
from esps_portal.protocol.urls import PortalURL
from esps_portal.services.builtin_portal import builtin_portal
from tests.fuzz import samples
from tests.fuzz.mutations import Corpus, pieces

Check = Callable[[bytes], None]

_FEW = 500  # bytes


@attrs.frozen
class Parser:
    """What is given inputs.

    Attributes:
        check: takes an input, and raises where it is not dealt with as it should be.
    """

    corpus: Corpus
    check: Check


def _expect(errors: type[Exception] | tuple[type[Exception], ...]) -> Callable[[Check], Check]:
    """Let a check raise errors, each of which is one that people can read."""

    def around(check: Check) -> Check:
        def checked(data: bytes) -> None:
            text = "no error"
            try:
                check(data)
            except errors as error:
                text = str(error)
            assert text, "an error without a word"
            assert text.isprintable(), f"unescaped: {text!r}"

        return checked

    return around


def _client() -> tuple[ClientConnection, list[PendingRequest]]:
    numbers = count(1)
    client = ClientConnection(lambda: b"%d" % next(numbers))
    return client, [client.ask("CALL", ("x",)) for _ in range(4)]


def check_client(data: bytes) -> None:
    """A client comes to the same end, however its input is cut."""
    single = [data[at : at + 1] for at in range(len(data))]
    cuts = [data], pieces(data, random.Random(len(data))), single
    # Thousands of single bytes take as long as hundreds of inputs.
    ends = [_client_end(cut) for cut in (cuts if len(data) < _FEW else cuts[:2])]
    assert all(end == ends[0] for end in ends), ends


def _client_end(cut: list[bytes]) -> tuple[object, list[tuple[bool, bool]]]:
    client, asked = _client()
    end: EspsError | None = None
    try:
        for piece in cut:
            client.receive_stream_untrusted(piece)
    except ProtocolError as error:
        end = client.peer_error(error)
    except EspsError as error:
        end = error
    assert str(end).isprintable(), f"unescaped: {end}"
    return type(end), [(one.is_ready, one.is_over) for one in asked]


def check_datagram_client(data: bytes) -> None:
    """A client of UDP ignores what it cannot read."""
    client, _ = _client()
    client.receive_datagram_untrusted(data)


_FRAMINGS = [parse_framing(text.decode()) for text in samples.FRAMINGS if text != b"datagrams"]


def check_splitters(data: bytes) -> None:
    """A framing makes the same frames, however the bytes are cut; what it joins it splits."""
    rng = random.Random(len(data))
    for framing in _FRAMINGS:
        whole = _split(FrameSplitter(framing, 5000), [data])
        cut = _split(FrameSplitter(framing, 5000), pieces(data, rng))
        assert whole == cut, f"{framing}: {whole} {cut}"


def _split(splitter: FrameSplitter, cut: list[bytes]) -> tuple[list[object], str]:
    frames: list[object] = []
    try:
        for piece in cut:
            frames += splitter.feed(piece)
        frames += splitter.finish()
    except FramingError as error:
        return frames, str(error)
    return frames, ""


@_expect(ProxyHeaderError)
def check_proxy_header(data: bytes) -> None:
    """A header is as long as it says, and no longer than it may be."""
    header = ProxyHeader()
    used = header.feed(data)
    assert 0 <= used <= len(data)


@_expect(ScenarioError)
def check_toml(data: bytes) -> None:
    """A scenario in TOML."""
    scenario = read_scenario_toml(data.decode("utf-8", "replace"))
    scenario.make(ScriptedPortal(builtin_portal("fuzz/1")))


@_expect(ScenarioError)
def check_json(data: bytes) -> None:
    """A scenario in JSON."""
    read_scenario(read_json(data))


@_expect(RecordingError)
def check_recording(data: bytes) -> None:
    """A recording of calls."""
    replay(read_recording(data), ScriptedPortal(builtin_portal("fuzz/1")))


@_expect(RecordingError)
def check_dialogues(data: bytes) -> None:
    """A recording of a proxy."""
    FrameReplay.of(read_dialogues(data))


@_expect(ValueError)
def check_url(data: bytes) -> None:
    """A URL that is read is written so that it is read as the same."""
    url = PortalURL.parse(data.decode("utf-8", "replace"))
    assert PortalURL.parse(str(url)) == url


@_expect(FramingError)
def check_framing(data: bytes) -> None:
    """The name of a framing that is read is written so that it is read as the same."""
    framing = parse_framing(data.decode("utf-8", "replace"))
    assert str(parse_framing(str(framing))) == str(framing)


@_expect(click.ClickException)
def check_fault(data: bytes) -> None:
    """A fault of the command line."""
    FaultParameter().convert(data.decode("utf-8", "replace"), None, None)


_JSON_SCENARIO = (
    b'{"stubs":[{"service":"price","args":["x",{"any":true}],"reply":"9"}],'
    b'"faults":[{"fault":"reset","times":1,"match":{"regex":"a+"}}],"limits":{"idle":5}}'
)

PARSERS = {
    "client": Parser(Corpus(samples.REPLIES, samples.REPLY_WORDS), check_client),
    "datagram-client": Parser(Corpus(samples.REPLIES, samples.REPLY_WORDS), check_datagram_client),
    "framing": Parser(
        Corpus([b"a b\r\nc\n\r\n\x00\x01x;abc;\xff" * 3, b"x" * 6000, bytes(40)], [b"\r\n", b";"]),
        check_splitters,
    ),
    "proxy-header": Parser(
        Corpus(samples.PROXY_HEADERS, [b"\r\n", b" ", b"::"]), check_proxy_header
    ),
    "scenario-toml": Parser(Corpus([samples.SCENARIO], samples.SCENARIO_WORDS), check_toml),
    "scenario-json": Parser(Corpus([_JSON_SCENARIO], samples.JSON_WORDS), check_json),
    "recording": Parser(Corpus([samples.RECORDING], samples.JSON_WORDS), check_recording),
    "dialogues": Parser(Corpus([samples.DIALOGUE], samples.JSON_WORDS), check_dialogues),
    "url": Parser(Corpus(samples.URLS, [b"://", b"[", b"]", b":", b"%25", b"@", b"/"]), check_url),
    "framing-name": Parser(
        Corpus(samples.FRAMINGS, [b":", b",", b"=", b"at=", b"(", b"\\"]), check_framing
    ),
    "fault": Parser(Corpus(samples.FAULTS, samples.FAULT_WORDS), check_fault),
}
