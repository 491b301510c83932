"""What a typed line means, and how it can go on, without a terminal or a portal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.cli.typed_line import (
    CannotParseError,
    LocalCommand,
    TypedRequest,
    completions,
    parse_typed,
)
from esps_portal.protocol.messages import Request, parse_request_untrusted
from esps_portal.protocol.registry import VERBS


@pytest.mark.parametrize(
    ("line", "verb", "args"),
    [
        ("echo", "CALL", [b"echo"]),
        ('echo hello "two words"', "CALL", [b"echo", b"hello", b"two words"]),
        ('  echo \'a"b\' "" c\\ d\r', "CALL", [b"echo", b'a"b', b"", b"c d"]),
        ("echo ü \udcff", "CALL", [b"echo", "ü".encode(), b"\xff"]),
        ("echo # no comment", "CALL", [b"echo", b"#", b"no", b"comment"]),
        ("CALL echo x", "CALL", [b"echo", b"x"]),
        ("CALL help", "CALL", [b"help"]),
        ("quit now", "CALL", [b"quit", b"now"]),
        ("PING", "PING", []),
        ("PING a b", "PING", [b"a", b"b"]),
        ("ping", "CALL", [b"ping"]),
        ("LIST echo", "LIST", [b"echo"]),
        ("HELLO ESPS/2 ESPS/1", "HELLO", [b"ESPS/2", b"ESPS/1"]),
        ("CANCEL c1", "CANCEL", [b"c1"]),
        ("QUIT", "QUIT", []),
    ],
)
def test_requests(line: str, verb: str, args: list[bytes]) -> None:
    assert parse_typed(line) == TypedRequest(verb, tuple(args))


def test_what_is_not_for_the_portal() -> None:
    assert parse_typed("help") is LocalCommand.HELP
    assert parse_typed(" quit ") is parse_typed("exit") is LocalCommand.QUIT
    for nothing in ("", " \t", "# a comment with a ' in it", "  #"):
        assert parse_typed(nothing) is None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('echo "two', "no closing quotation"),
        ("echo \\", "no escaped character"),
        ("FOO bar", "'FOO' is neither a service nor a verb (HELLO PING LIST CALL CANCEL QUIT)"),
        ("\x1b[2J", "'\\x1b[2J' is neither a service nor a verb"),
        ('""', "'' is neither a service nor a verb"),
        ("GET / HTTP/1.1", "'GET' is neither"),
        ("CALL", "CALL needs 1 argument"),
        ("CALL Foo", "a service has a name: "),
        ("HELLO", "HELLO needs 1 argument"),
        ("HELLO x", "HELLO needs versions: ESPS/1"),
        ("LIST a b", "LIST takes at most 1 argument"),
        ("CANCEL '*'", "CANCEL needs a tag"),
        ("QUIT now", "QUIT takes at most 0 arguments"),
        ("echo " + 8192 * "x", "the request must be at most 8192 bytes, got 82"),
    ],
)
def test_what_is_no_request(line: str, says: str) -> None:
    with pytest.raises(CannotParseError) as caught:
        parse_typed(line)
    assert str(caught.value).startswith(says)
    assert str(caught.value).isprintable()


@given(st.text(max_size=40))
def test_any_line_is_a_good_request_or_one_error(line: str) -> None:
    """A request that the portal rejected could end the connection, if it was the first line."""
    line = line.encode("utf-8", "replace").decode()
    try:
        typed = parse_typed(line)
    except CannotParseError:
        return
    if isinstance(typed, TypedRequest):
        request = Request(b"t", typed.verb.encode(), typed.args)
        assert parse_request_untrusted(request.encode()[:-1]).verb in VERBS


# ---- completion --------------------------------------------------------------------------------

OFFERED = ["echo", "exact", "time", "\x1b[2J", "e$(reboot)", "E"]


@pytest.mark.parametrize(
    ("before", "word", "found"),
    [
        ("", "e", ["echo", "exact", "exit"]),
        ("  ", "q", ["quit"]),
        ("", "H", ["HELLO"]),
        ("", "h", ["help"]),
        ("CALL ", "", ["echo", "exact", "time"]),
        ("LIST ", "t", ["time"]),
        ("HELLO ", "", ["ESPS/1"]),
        ("PING ", "e", []),
        ("CALL echo ", "e", []),
        ("echo ", "e", []),
    ],
)
def test_completions(before: str, word: str, found: list[str]) -> None:
    assert completions(before, word, lambda: OFFERED) == found


def test_the_portal_is_asked_for_services_only() -> None:
    def asked() -> list[str]:
        raise AssertionError

    assert completions("HELLO ", "", asked) == ["ESPS/1"]
    assert completions("PING ", "e", asked) == []
