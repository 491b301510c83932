"""An upstream, as text: who names none, or half of one, reads what to write."""

from __future__ import annotations

import re

import pytest

from esps_portal.proxy.upstream import Upstream, UpstreamError


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("h:1", "write tcp://h:1, udp://h:1, or esps://h:1 for a portal"),
        ("h", "write tcp://h:PORT, udp://h:PORT, or esps://h for a portal"),
        ("[::1]:7", "write tcp://[::1]:7, udp://[::1]:7, or esps://[::1]:7 for a portal"),
        ("[::1]", "write tcp://[::1]:PORT, udp://[::1]:PORT, or esps://[::1] for a portal"),
    ],
)
def test_nothing_is_guessed_without_a_scheme(text: str, says: str) -> None:
    with pytest.raises(
        UpstreamError, match=re.escape(f"does not say what is spoken there: {says}")
    ):
        Upstream.parse(text)


@pytest.mark.parametrize("text", ["", ":1", "h:x", "a b", "tcp:/h:1", "\x1b[31m"])
def test_what_is_no_address_gets_the_forms(text: str) -> None:
    with pytest.raises(
        UpstreamError, match=r"is not an upstream: .*; write tcp://HOST:PORT"
    ) as raised:
        Upstream.parse(text)
    assert str(raised.value).isprintable()
