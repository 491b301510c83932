"""Templates: what a vector sends and expects, with placeholders for what a run chooses.

- ``{a}``: a name, such as a tag: the run replaces it by a fresh one of 16 characters, the same
  everywhere in the vector. In a repeated step ``{a@}`` is ``{a1}``, ``{a2}``, and so on.
- ``{=max-line}``, ``{=max-line+1}``: the value of a limit, or of what an earlier line held.
- ``{x:100}``, ``{x:max-line+1}``: as many ``x`` as bring the line to that many bytes, its LF
  included. Any one character may stand for the ``x``.
- ``{{``: a brace.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

import attrs

#: What is left alone: `pattern` matches it.
RESERVED = ("arg", "number", "text")

_NAME_LENGTH = 16
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"  # 5 bits for each character
_OWN_PART = 3  # of a name; the other 13 characters are 65 random bits (ESPS-UDP-31 asks for 64)

_PLACEHOLDER = re.compile(
    r"""
    (?P<brace>\{\{)
    | \{=(?P<value>[a-z-]+?)(?P<shift>[+-][0-9]+)?\}
    | \{(?P<name>[a-z][a-z0-9]*)(?P<each>@?)\}
    """,
    re.VERBOSE,
)
_FILL = re.compile(r"\{(?P<sign>[^\n]):(?P<length>[a-z0-9-]+?)(?P<shift>[+-][0-9]+)?\}")


class UnknownValueError(Exception):
    """A template names a value that is neither a limit nor held by an earlier line."""


@attrs.define
class Run:
    """What one run of a vector chooses, and what it has learnt.

    Attributes:
        limits: the limits of the server, by name.
        names: the fresh names, by those of the vector.
        values: what earlier lines held.
    """

    limits: Mapping[str, float]
    names: dict[str, str] = attrs.field(factory=dict)
    values: dict[str, str] = attrs.field(factory=dict)

    def fill(self, template: str, number: int = 1) -> str:
        """Return a template with its placeholders filled in.

        Args:
            template: see above.
            number: which repetition of the step this is, from 1.

        Raises:
            UnknownValueError: it names an unknown value.
        """
        lines = self.substitute(template, number).split("\n")
        return "\n".join(
            [self.lengthen(line, 1) for line in lines[:-1]] + [self.lengthen(lines[-1])]
        )

    def substitute(self, template: str, number: int = 1) -> str:
        """Return a template with its names, values and braces filled in; see `fill`."""
        return _PLACEHOLDER.sub(lambda found: self._fill_one(found, number), template)

    def count(self, amount: float | str) -> int:
        """Return a number that may be given as the name of a limit."""
        return int(self._value(amount) if isinstance(amount, str) else amount)

    def name(self, word: str) -> str:
        """Return the fresh name for a name of the vector."""
        if word not in self.names:
            own = f"{word}."[:_OWN_PART]
            rest = _NAME_LENGTH - len(own)
            self.names[word] = own + "".join(secrets.choice(_ALPHABET) for _ in range(rest))
        return self.names[word]

    def keep_address(self, local: tuple[str, int]) -> None:
        """Keep the address and port of the first connection or socket as values."""
        self.values.setdefault("local-host", local[0])
        self.values.setdefault("local-port", str(local[1]))

    def _fill_one(self, found: re.Match[str], number: int) -> str:
        if found["brace"]:
            return "{"
        if found["value"]:
            value = self._value(found["value"])
            return f"{float(value) + int(found['shift']):g}" if found["shift"] else value
        if found["name"] in RESERVED:
            return found[0]
        return self.name(f"{found['name']}{number if found['each'] else ''}")

    def lengthen(self, line: str, end: int = 0) -> str:
        """Return a line of the wanted length; ``end``: how many bytes follow it, its LF."""
        found = _FILL.search(line)
        if found is None:
            return line
        length = found["length"]
        wanted = int(length) if length.isdigit() else int(float(self._value(length)))
        wanted += int(found["shift"] or 0)
        missing = wanted - end - (len(line) - len(found[0]))
        return line[: found.start()] + found["sign"] * missing + line[found.end() :]

    def _value(self, name: str) -> str:
        if name in self.values:
            return self.values[name]
        if name in self.limits:
            return f"{self.limits[name]:.6f}".rstrip("0").rstrip(".")
        raise UnknownValueError(name)


def literal(text: str) -> str:
    """Return the template of a text without placeholders.

    A brace is doubled: ``{{`` stands for ``{``.
    """
    return text.replace("{", "{{")
