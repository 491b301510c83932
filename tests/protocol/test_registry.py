"""The error texts that the table of verbs gives."""

from __future__ import annotations

from esps_portal.protocol.registry import VERBS, unknown_verb_text


def test_a_hint_for_the_likeliest_mistake() -> None:
    assert unknown_verb_text(b"ping") == "verbs are case-sensitive: PING"
    hint = unknown_verb_text(b"GET")
    assert all(name.decode() in hint for name in VERBS)
