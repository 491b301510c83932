"""The error texts that the table of verbs gives."""

from __future__ import annotations

import pytest

from esps_portal.protocol.registry import VERBS, argument_count_error, unknown_verb_text


@pytest.mark.parametrize(
    ("verb", "count", "text"),
    [
        (b"HELLO", 0, "HELLO needs 1 argument"),
        (b"HELLO", 9, ""),
        (b"PING", 0, ""),
        (b"PING", 99, ""),
        (b"LIST", 0, ""),
        (b"LIST", 1, ""),
        (b"LIST", 2, "LIST takes at most 1 argument"),
        (b"CALL", 0, "CALL needs 1 argument"),
        (b"CALL", 9, ""),
        (b"CANCEL", 0, "CANCEL needs 1 argument"),
        (b"CANCEL", 2, "CANCEL takes at most 1 argument"),
        (b"QUIT", 0, ""),
        (b"QUIT", 1, "QUIT takes at most 0 arguments"),
    ],
)
def test_the_number_of_arguments(verb: bytes, count: int, text: str) -> None:
    assert argument_count_error(verb, (b"x",) * count) == text


def test_a_hint_for_the_likeliest_mistake() -> None:
    assert unknown_verb_text(b"ping") == "verbs are case-sensitive: PING"
    hint = unknown_verb_text(b"GET")
    assert all(name.decode() in hint for name in VERBS)
