"""What is wrong with the arguments of a verb."""

from __future__ import annotations

import pytest

from esps_portal.protocol import verb_arguments
from esps_portal.protocol.verb_arguments import argument_error, chosen_version
from tests.cases import cases


@cases(
    ("verb", "args", "text"),
    [
        (b"HELLO", [], "HELLO needs 1 argument"),
        (b"HELLO", [b"ESPS/9"] * 9, ""),
        (b"HELLO", [b"ESPS/1", b"x"], "HELLO needs versions: ESPS/1"),
        (b"HELLO", [b"ESPS/1\n"], "HELLO needs versions: ESPS/1"),
        (b"PING", [], ""),
        (b"PING", [b"x"] * 99, ""),
        (b"LIST", [], ""),
        (b"LIST", [b"x"], ""),
        (b"LIST", [b"No name"], ""),
        (b"LIST", [b"x"] * 2, "LIST takes at most 1 argument"),
        (b"CALL", [], "CALL needs 1 argument"),
        (b"CALL", [b"echo", *[b"X /"] * 9], ""),
        (b"CALL", [b"/echo"], "a service has a name: a-z, then up to 63 of a-z 0-9 - . _"),
        (b"CALL", [b"Echo"], "a service has a name: a-z, then up to 63 of a-z 0-9 - . _"),
        (b"CANCEL", [], "CANCEL needs 1 argument"),
        (b"CANCEL", [b"x"], ""),
        (b"CANCEL", [b" "], "CANCEL needs a tag"),
        (b"CANCEL", [b"x"] * 2, "CANCEL takes at most 1 argument"),
        (b"QUIT", [], ""),
        (b"QUIT", [b"x"], "QUIT takes at most 0 arguments"),
    ],
)
def test_the_arguments_of_a_verb(verb: bytes, args: list[bytes], text: str) -> None:
    # ESPS-VERB-3, ESPS-VERB-9, ESPS-VERB-12, ESPS-VERB-23, ESPS-VERB-24, ESPS-VERB-25
    assert argument_error(verb, tuple(args)) == text


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([b"ESPS/1"], b"ESPS/1"),
        ([b"ESPS/3", b"ESPS/1", b"ESPS/2"], b"ESPS/1"),
        ([b"ESPS/3", b"ESPS/2", b"ESPS/1"], b"ESPS/2"),
        ([b"ESPS/2", b"ESPS/1"], b"ESPS/2"),
        ([b"ESPS/01", b"ESPS/4"], None),
    ],
)
def test_the_client_prefers_and_the_server_chooses(
    offered: list[bytes], chosen: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # ESPS-VERB-1, ESPS-VERB-2: as a server would that speaks two versions
    monkeypatch.setattr(verb_arguments, "VERSIONS", (b"ESPS/1", b"ESPS/2"))
    assert chosen_version(tuple(offered)) == chosen
