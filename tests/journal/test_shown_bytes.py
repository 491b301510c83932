"""How bytes of any protocol are shown: text where it is text, else hex with an ASCII column."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.journal.journal import Journal
from esps_portal.journal.shown_bytes import is_text, shown_in_line, shown_in_lines
from esps_portal.journal.transcript import transcript


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", [""]),
        (b"GET n\r\n", [r"GET n\r\n"]),
        (b"a\\b\tc", [r"a\\b\tc"]),
        ("grüße\n".encode(), [r"grüße\n"]),
        (b"\x00\x01ab", ["00 01 61 62                                       |..ab|"]),
        (
            bytes(range(18)),
            [
                "00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f  |................|",
                "10 11                                             |..|",
            ],
        ),
        (b"\x1b[31mred", ["1b 5b 33 31 6d 72 65 64                           |.[31mred|"]),
        ("\u202eevil".encode(), ["e2 80 ae 65 76 69 6c                              |...evil|"]),
    ],
)
def test_shown(data: bytes, expected: list[str]) -> None:
    assert shown_in_lines(data) == expected


def test_in_one_line() -> None:
    assert shown_in_line(b"GET n\r\n") == r"GET n\r\n"
    assert shown_in_line(b"\0\1ab") == "00 01 61 62"
    assert shown_in_line(b"GET \x1b[2J\xff") == r"GET \x1b[2J\xff"
    assert shown_in_line(bytes(100), 3) == "00 00 00 ..."
    assert shown_in_line(b"x" * 100, 3) == "xxx..."


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_text_that_is_cut_within_a_character_is_text(cut: int) -> None:
    assert is_text("ab€".encode()[: 2 + cut])
    assert not is_text("ab€".encode()[: 2 + cut] + b"\xff")


@given(st.binary(max_size=80), st.integers(1, 40))
def test_what_is_shown_is_safe(data: bytes, size: int) -> None:
    for line in (*shown_in_lines(data, size), shown_in_line(data, size)):
        assert line.isprintable() or not line


def test_a_transcript_has_hex_under_its_arrow() -> None:
    journal = Journal()
    connection = journal.opened(("127.0.0.1", 1), 0.0)
    exchange = journal.began("tcp", ("127.0.0.1", 1), connection, 1, 1.0)
    journal.sent(exchange, "client", b"\0" * 20, 1.0)
    journal.sent(exchange, "server", b"\xff" * 200, 2.0)
    _, first, second, *reply = transcript(journal).splitlines()
    zeros = " ".join(["00"] * 8)
    assert first == f"    1.000 tcp #1               --> {zeros}  {zeros}  |{'.' * 16}|"
    assert second == f"    1.000 tcp #1                   00 00 00 00{' ' * 39}|....|"
    assert reply[0].startswith("    2.000 tcp #1               <-- ff ff")
    assert reply[-1].endswith("... (200 bytes)")
