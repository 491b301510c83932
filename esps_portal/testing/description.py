"""A portal in one line, for a REPL, a failed assertion, a debugger: where it is, what is placed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from esps_portal.mock.scripted import Script

# Stubs, and faults, that are shown; of more a person needs the number.
_SHOWN = 5


def describe_portal(where: str, script: Script, *, is_down: bool) -> str:
    """Return it. The portal is not asked: it may be stuck, and whoever prints it must not be."""
    parts = [
        f"portal {where}",
        *_placed("stub", script.stubs.all),
        *_placed("stub of the session", list(script.stubs.permanent), "stubs of the session"),
        *_placed("fault", list(script.faults.in_force)),
        *(["down"] if is_down else []),
    ]
    return f"<{'; '.join(parts)}>"


def _placed(one: str, placed: Sequence[object], several: str = "") -> Iterable[str]:
    if placed:
        shown = [str(thing) for thing in placed[:_SHOWN]] + ["..."] * (len(placed) > _SHOWN)
        number = len(placed)
        yield f"{number} {one if number == 1 else several or f'{one}s'}: {', '.join(shown)}"
