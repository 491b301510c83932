"""The expressions of the grammar, and the codec of arguments."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.protocol import grammar
from tests.protocol.strategies import args, noise

CANONICAL = re.compile(rb'""|(?:[!$&-~]|%[0-9A-F]{2})+')
# Bytes that need no escape, as the specification lists them: %x21, %x24 and %x26-7E.
PLAIN = {0x21, 0x24, *range(0x26, 0x7F)}


@given(args)
def test_arguments_come_back(given_args: tuple[bytes, ...]) -> None:
    # ESPS-ARG-9: an argument that looks escaped is escaped once, and decoded once
    tokens = b"".join(b" " + grammar.encode_args((arg,)) for arg in given_args)
    assert grammar.decode_args(tokens) == given_args


@given(args)
def test_arguments_are_canonical(given_args: tuple[bytes, ...]) -> None:
    # ESPS-ARG-4
    encoded = grammar.encode_args(given_args)
    tokens = encoded.split(b" ") if given_args else []
    assert len(tokens) == len(given_args)
    assert all(CANONICAL.fullmatch(token) for token in tokens)
    assert grammar.encoded_size(given_args) == len(encoded)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=9)))
def test_text_is_encoded_as_its_bytes_are(texts: list[str]) -> None:
    assert grammar.encode_text_args(texts) == grammar.encode_args(tuple(map(str.encode, texts)))


def test_a_byte_is_escaped_if_it_must_be_and_only_then() -> None:
    # ESPS-ARG-2, ESPS-ARG-3, ESPS-ARG-4
    for byte in range(256):
        arg = bytes((byte,))
        expected = arg if byte in PLAIN else b"%%%02X" % byte
        assert grammar.encode_args((arg,)) == expected
        assert (arg in grammar.PLAIN) is (byte in PLAIN)


def test_an_empty_argument_has_a_form_of_its_own() -> None:
    # ESPS-ARG-1
    assert grammar.encode_args((b"", b"")) == b'"" ""'
    assert grammar.decode_args(b' "" ""') == (b"", b"")


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (b"", ()),
        (b" a b", (b"a", b"b")),
        (b" a%20b", (b"a b",)),
        (b" %ff%Ff%fF%FF", (b"\xff" * 4,)),
        (b" %41%7e", (b"A~",)),
        (b" %2541", (b"%41",)),
        (b" %22%22", (b'""',)),
        (rb" \x41\u0100\ %5Cx41\%41", (rb"\x41\u0100" + b"\\", rb"\x41\A")),
    ],
)
def test_a_decoder_splits_first_and_takes_any_escape(
    tokens: bytes, expected: tuple[bytes, ...]
) -> None:
    # ESPS-ARG-5, ESPS-ARG-6, ESPS-ARG-9
    assert grammar.decode_args(tokens) == expected


def python_events(function: Callable[[], object]) -> int:
    """Return how often functions of the grammar are entered and left, and call one of C."""
    events = 0

    def count(frame: FrameType, *_: object) -> None:
        nonlocal events
        events += frame.f_globals is vars(grammar)

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return events


@pytest.mark.parametrize("arg", [b" ", b"\xff", b"a b", b"%", bytes(range(256))])
def test_no_byte_of_an_argument_is_coded_by_a_call_of_its_own(arg: bytes) -> None:
    for times in (1, 10):
        short, long = (arg * 10,) * times, (arg * 1000,) * times
        tokens = [b" " + grammar.encode_args(args) for args in (short, long)]
        calls = [python_events(partial(grammar.encode_args, args)) for args in (short, long)]
        assert calls[0] == calls[1]
        calls = [python_events(partial(grammar.decode_args, token)) for token in tokens]
        assert calls[0] == calls[1]


@given(st.one_of(noise, st.binary(max_size=40)))
def test_the_quick_expression_agrees_with_the_full_one(line: bytes) -> None:
    quick, full = grammar.PLAIN_REQUEST.fullmatch(line), grammar.REQUEST.fullmatch(line)
    if quick is not None:
        assert full is not None
        assert (full[1], full[2]) == (quick[1], quick[2])
        assert full[3] == (b" " + quick[3] if quick[3] else b"")
    elif full is not None:
        assert re.search(rb'%|""', full[3])


@pytest.mark.parametrize(
    ("production", "good", "bad"),
    [
        (grammar.TAG, [b"a", b"-", b"0._-Z", b"t" * 32], [b"", b"t" * 33, b"*", b"a b", b"a\n"]),
        (grammar.VERB, [b"A", b"z", b"V" * 16], [b"", b"V" * 17, b"V1", b"V-", b"V\n"]),
        (grammar.NAME, [b"a", b"a.b-c_9", b"n" * 64], [b"", b"n" * 65, b"9", b"A", b"-a", b"a\n"]),
        (grammar.VERSION, [b"ESPS/1", b"ESPS/10"], [b"ESPS/", b"esps/1", b"ESPS/1.1", b"ESPS/1\n"]),
    ],
)
def test_productions(production: re.Pattern[bytes], good: list[bytes], bad: list[bytes]) -> None:
    assert all(production.fullmatch(text) for text in good)
    assert not any(production.fullmatch(text) for text in bad)
