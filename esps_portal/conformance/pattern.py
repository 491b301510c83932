"""Compares a line that came with the pattern of one that may come, token by token.

A token of a pattern is literal, or

- ``{arg}``: any one argument; ``{number}``: decimal digits. ``{arg:x}`` and ``{number:x}`` keep it
  as the value ``x``, for later templates.
- ``{/REGEX/}``: the whole token matches; ``{/REGEX/...}``, at the end: so does each of those.
- ``{text}``, at the end: zero or more arguments of any kind, such as text for a person; kept by
  ``{text:x}``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from esps_portal.conformance.steps import ExpectedLine
from esps_portal.conformance.template import Run

_MAX_SHOWN = 200
_KEPT = re.compile(r"\{(arg|number)(?::([a-z-]+))?\}")
_TEXT = re.compile(r"\{text(?::([a-z-]+))?\}")
_REGEX = re.compile(r"\{/(.*)/(\.\.\.)?\}", re.DOTALL)
_DIGITS = re.compile(r"[0-9]+")


def line_matches(line: str, expected: ExpectedLine, run: Run, number: int = 1) -> bool:
    """Whether a line, without its LF, is one that may come.

    What its pattern keeps is in ``run`` afterwards, if it is.
    """
    wanted = _tokens(expected.pattern, run, number)
    kept: dict[str, str] = {}
    rest = _match_tokens(line.split(" "), wanted, kept)
    if rest is None:
        return False
    for argument in expected.contains:
        filled = run.fill(argument, number)
        if not any(_token_matches(token, filled, kept) for token in rest):
            return False
    run.values.update(kept)
    return True


def described(expected: ExpectedLine, run: Run, number: int = 1) -> str:
    """Return a pattern with its names filled in, for a person."""
    held = "".join(f" with {run.fill(argument, number)}" for argument in expected.contains)
    line = " ".join(_tokens(expected.pattern, run, number))
    return (line if len(line) <= _MAX_SHOWN else f"{line[:_MAX_SHOWN]}...") + held


def _tokens(pattern: str, run: Run, number: int) -> list[str]:
    # A regular expression may have braces of its own.
    tokens = [
        token if _REGEX.fullmatch(token) else run.substitute(token, number)
        for token in pattern.split(" ")
    ]
    return run.lengthen(" ".join(tokens), 1).split(" ")


def _match_tokens(
    tokens: Sequence[str], wanted: Sequence[str], kept: dict[str, str]
) -> Sequence[str] | None:
    """Return the tokens that the end of the pattern stands for; ``None``: no match."""
    last = wanted[-1]
    repeated, text = _REGEX.fullmatch(last), _TEXT.fullmatch(last)
    if not text and not (repeated and repeated[2]):
        same = len(tokens) == len(wanted)
        return () if same and _all_match(tokens, wanted, kept) else None
    before = len(wanted) - 1
    rest = tokens[before:]
    if len(tokens) < before or not _all_match(tokens[:before], wanted[:-1], kept):
        return None
    if repeated and not all(re.fullmatch(repeated[1], token) for token in rest):
        return None
    if text and text[1]:
        kept[text[1]] = " ".join(rest)
    return rest


def _all_match(tokens: Sequence[str], wanted: Sequence[str], kept: dict[str, str]) -> bool:
    return all(_token_matches(*pair, kept) for pair in zip(tokens, wanted, strict=True))


def _token_matches(token: str, wanted: str, kept: dict[str, str]) -> bool:
    found = _KEPT.fullmatch(wanted)
    if found:
        if found[1] == "number" and not _DIGITS.fullmatch(token):
            return False
        if found[2]:
            kept[found[2]] = token
        return True
    regex = _REGEX.fullmatch(wanted)
    if regex:
        return re.fullmatch(regex[1], token) is not None
    return token == wanted
