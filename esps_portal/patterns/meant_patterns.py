"""Text that matches nothing, since it was meant as a regular expression."""

from __future__ import annotations

import functools

from esps_portal.patterns.linear import LinearPattern, PatternError, TooSlowError

# What says in a pattern more than itself, and is rare in other text: "." and "?" are not.
_SIGNS = frozenset(b"*+^$[(|\\")
# How many bytes are searched: it is for a line of a report.
_MAX_SEARCHED = 4096


def meant_as_pattern(text: bytes, data: bytes, *, whole: bool = False) -> str:
    """Return the end of a report's line on text that does not match.

    It says so if the text would match as a regular expression; otherwise it is empty.

    Args:
        whole: the expression would have to match all of the data.
    """
    if _SIGNS.isdisjoint(text) or (pattern := _compiled(text)) is None:
        return ""
    try:
        find = pattern.fullmatch if whole else pattern.search
        is_found = find(data[:_MAX_SEARCHED]) and not find(b"")
    except TooSlowError:
        return ""
    return "; as a regular expression it would match: write re.compile(...)" if is_found else ""


@functools.lru_cache(maxsize=64)
def _compiled(text: bytes) -> LinearPattern | None:
    try:
        return LinearPattern.of(text)
    except PatternError:
        return None
