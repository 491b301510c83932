"""Text from elsewhere is shown without a character that does something to a terminal."""

from __future__ import annotations

from esps_portal.protocol.escape import visible, visible_lines


def test_each_unprintable_character_is_escaped() -> None:
    assert visible("déjà vu\x1b[2J\n") == r"déjà vu\x1b[2J\n"


def test_lines_stay_lines() -> None:
    assert visible_lines("one\x1b[2J\n\rtwo\n") == "one\\x1b[2J\n\\rtwo\n"
