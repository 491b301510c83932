"""The values that a run of a case for clients chooses, and fills into its templates."""

from __future__ import annotations

import secrets

import attrs


@attrs.frozen
class CaseValues:
    """What one run chooses: the word of its reply, and one that no client may print."""

    word: str = attrs.field(factory=lambda: f"reply-{secrets.token_hex(6)}")
    bad: str = attrs.field(factory=lambda: f"wrong-{secrets.token_hex(6)}")

    def fill(self, template: str, tag: str) -> bytes:
        """Return a template with these values and the tags filled in."""
        filled = template.replace("{tag}", tag).replace("{TAG}", tag.swapcase())
        filled = filled.replace("{other}", f"{tag[:-1]}{'x' if tag[-1] != 'x' else 'y'}")
        filled = filled.replace("{long}", "x" * 100_000)
        escaped = "".join(f"%{ord(sign):02x}" for sign in self.word)
        filled = filled.replace("{escaped}", escaped)
        return filled.replace("{word}", self.word).replace("{bad}", self.bad).encode("latin-1")
