"""The transcripts of the specification and of ``spec/transcripts``, run against a portal.

The server's lines are compared token by token, except what may differ between correct servers: the
text after an error's code and machine arguments, and the version of the product. Consecutive lines
of the client are sent together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs
import pytest
import trio
import trio.testing

from esps_portal.protocol.registry import ERRORS
from tests.portals import Running, running
from tests.spec.documents import SPEC, TEXT

SECTION = re.compile(r"^### (15\.\d) (.*?)\n(.*?)(?=^##)", re.MULTILINE | re.DOTALL)
PRODUCT = re.compile(r"^esps-portal/[0-9A-Za-z.+]+$")


@attrs.frozen
class Transcript:
    """A conversation; `lines` are (``"C"`` or ``"S"``, line), in order."""

    name: str
    datagrams: bool
    lines: list[tuple[str, str]]

    @classmethod
    def of(cls, name: str, text: str, *, datagrams: bool) -> Transcript:
        rows = [row for row in text.splitlines() if not row.startswith("#")]
        assert all(row[:3] in ("C: ", "S: ") for row in rows), name
        return cls(name, datagrams, [(row[0], row[3:]) for row in rows])

    @property
    def ends(self) -> bool:
        """Whether the server closes the connection after the last line."""
        return any(
            line.endswith(" QUIT") or line.startswith("* BYE") or " HTTP/" in line
            for _, line in self.lines
        )


def transcripts() -> Iterator[Transcript]:
    for file in sorted((SPEC / "transcripts").glob("*.txt")):
        text = file.read_text(encoding="ascii")
        yield Transcript.of(file.stem, text, datagrams=file.stem.startswith("udp-"))
    for number, title, body in SECTION.findall(TEXT):
        (text,) = re.findall(r"```transcript\n(.*?)```", body, re.DOTALL)
        yield Transcript.of(number, text, datagrams=not title.endswith("(TCP)"))


TRANSCRIPTS = list(transcripts())
of_stream = pytest.mark.parametrize(
    "transcript", [t for t in TRANSCRIPTS if not t.datagrams], ids=lambda t: t.name
)
of_datagrams = pytest.mark.parametrize(
    "transcript", [t for t in TRANSCRIPTS if t.datagrams], ids=lambda t: t.name
)


def comparable(line: str) -> list[str]:
    """Return the tokens of a line that are the same for all correct servers."""
    tokens = ["PRODUCT" if PRODUCT.match(token) else token for token in line.split(" ")]
    if tokens[1] != "ERR":
        return tokens
    known = ERRORS.get(tokens[2])
    return tokens[: 3 + (known.machine_arguments if known else 0)]


@pytest.fixture
def clock() -> trio.testing.MockClock:
    """Time passes when nothing else happens: a drain of five seconds takes none."""
    return trio.testing.MockClock(autojump_threshold=0.02)


def test_all_are_found() -> None:
    names = [transcript.name for transcript in TRANSCRIPTS if transcript.name.startswith("15.")]
    assert names == [f"15.{n}" for n in range(1, 1 + TEXT.count("```transcript"))]
    assert [t.name for t in TRANSCRIPTS if t.datagrams] == [*("udp-exchange", "udp-sample", "15.4")]


@of_stream
async def test_over_tcp(transcript: Transcript, clock: trio.testing.MockClock) -> None:
    async with running() as portal:
        peer = await portal.connect()
        waiting = b""
        for side, line in transcript.lines:
            if side == "C":
                waiting += line.encode() + b"\n"
                continue
            await peer.send(waiting)
            waiting = b""
            if line == "* BYE closing":
                await trio.testing.wait_all_tasks_blocked(0.01)  # what was sent has been read
                portal.shut_down()
            assert comparable((await peer.line()).decode("ascii")) == comparable(line)
        if transcript.ends:
            assert await peer.rest() == b""
        else:
            await peer.send(waiting + b"zz PING\n")
            assert await peer.line() == b"zz OK"


def exchanges(transcript: Transcript) -> list[tuple[bytes, list[str]]]:
    """Return each datagram and the lines of its answer."""
    found: list[tuple[bytes, list[str]]] = []
    for side, line in transcript.lines:
        if side == "C":
            found.append((line.encode() + b"\n", []))
        else:
            found[-1][1].append(line)
    return found


@of_datagrams
async def test_over_udp(transcript: Transcript) -> None:
    async with running() as portal:
        await play(portal, exchanges(transcript))


async def play(portal: Running, exchanged: list[tuple[bytes, list[str]]]) -> None:
    peer = portal.udp()
    for datagram, expected in exchanged:
        peer.send(datagram)
        if expected:
            answer = (await peer.receive()).decode("ascii")
            assert answer.endswith("\n")
            assert [comparable(line) for line in answer[:-1].split("\n")] == [
                *map(comparable, expected)
            ]
            assert len(answer) <= 3 * len(datagram)  # ESPS-UDP-12
    await peer.assert_silence()
