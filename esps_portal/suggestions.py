"""What to write in place of a wrong name, for an error message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggest(wrong: object, names: Iterable[str]) -> str:
    """Return the most similar name as a question, or all names."""
    close = difflib.get_close_matches(str(wrong).lower(), names, 1)
    return f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(names)}"
