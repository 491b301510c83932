"""Errors carry code and cause as data, and read as one line."""

from __future__ import annotations

import pickle

import pytest

from esps_portal.protocol.errors import (
    ClosedError,
    EspsError,
    PeerError,
    ProtocolError,
    ReplyError,
    TimedOutError,
    UnreachableError,
)

ERRORS = [
    (ProtocolError("bad-line", "no tag"), "bad-line: no tag"),
    (ReplyError("busy"), "busy"),
    (ReplyError("failed", "no", b"luck \xff"), r"failed no luck \xff"),
    (ClosedError(), "the portal ended the connection"),
    (ClosedError("idle"), "the portal ended the connection (reason: idle)"),
    (ClosedError("\x1b[2J"), r"the portal ended the connection (reason: \x1b[2J)"),
    (
        ClosedError("idle", unfinished=b"a OK \x1b["),
        r'the portal ended the connection (reason: idle) within a line: "a OK \x1b["',
    ),
    (ClosedError(greeted=False), "the peer ended the connection without a greeting"),
    (ReplyError("failed", "\x1b[2J"), r"failed \x1b[2J"),
    (PeerError("reset"), "reset"),
    (PeerError("strange", b"SSH-2.0\r\n\xff"), r'strange; it sent "SSH-2.0\r\n\xff"'),
    (UnreachableError("refused"), "refused"),
    (TimedOutError("late"), "late"),
    (TimedOutError("late", unfinished=b"\x00"), r'late; received part of a line: "\x00"'),
    (TimedOutError("late", b"\x00"), r'late; received what is not ESPS/1: "\x00"'),
]


@pytest.mark.parametrize(("error", "text"), ERRORS, ids=str)
def test_an_error_reads_as_one_line(error: EspsError, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize(("error", "text"), ERRORS, ids=str)
def test_an_error_can_be_pickled(error: EspsError, text: str) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is type(error)
    assert (str(copy), copy.__dict__) == (text, error.__dict__)


def test_attributes() -> None:
    reply = ReplyError("failed", "two words", b"\xff")
    assert (reply.code, reply.arguments) == ("failed", (b"two words", b"\xff"))
    assert reply.message == r"two words \xff"
    protocol = ProtocolError("bad-line", "no tag")
    assert (protocol.code, protocol.message) == ("bad-line", "no tag")
    assert ClosedError("idle").reason == "idle"
    assert (PeerError("x", b"y").message, PeerError("x", b"y").received) == ("x", b"y")
    assert (TimedOutError("x", b"y").message, TimedOutError("x", b"y").received) == ("x", b"y")
    # What `args` and the repr show is the message, not what the peer sent.
    for error in (
        ClosedError("x", unfinished=b"y"),
        PeerError("x", b"y"),
        TimedOutError("x", b"y"),
    ):
        assert error.args == ("x",)


@pytest.mark.parametrize(
    ("error", "built_in"),
    [
        (ClosedError(), ConnectionError),
        (PeerError(), ConnectionError),
        (UnreachableError(), ConnectionError),
        (TimedOutError(), TimeoutError),
    ],
)
def test_errors_are_subclasses_of_the_built_in_ones(
    error: EspsError, built_in: type[Exception]
) -> None:
    assert isinstance(error, built_in)


def test_what_an_error_reply_cannot_carry() -> None:
    with pytest.raises(TypeError, match="an error code must be str, not bytes"):
        ReplyError(b"busy")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an argument must be str or bytes, not int"):
        ReplyError("busy", 5)  # type: ignore[arg-type]
