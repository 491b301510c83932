"""Text from elsewhere is shown without a character that does something to a terminal."""

from __future__ import annotations

from esps_portal.protocol.escape import printable, shorten, visible, visible_lines


def test_each_unprintable_character_is_escaped() -> None:
    assert visible("déjà vu\x1b[2J\n") == r"déjà vu\x1b[2J\n"


def test_lines_stay_lines() -> None:
    assert visible_lines("one\x1b[2J\n\rtwo\n") == "one\\x1b[2J\n\\rtwo\n"


def test_the_start_of_what_is_long_is_shown() -> None:
    assert printable(b"x" * 60) == "x" * 60
    assert printable(b"x" * 61) == "x" * 60 + "..."
    assert printable(b"\n\x00\x7f", 2) == r"\n\x00..."
    assert shorten("x" * 9, 9) == "x" * 9
    assert shorten("x" * 10, 9) == "x" * 6 + "..."
