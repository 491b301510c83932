"""What makes a strict test fail for a proxy, and the report of what happened there."""

from __future__ import annotations

from collections.abc import Iterator

from esps_portal.mock.verification import fault_problems, report_text
from esps_portal.proxy.state import ProxyState

# Connections that are named in a report.
_MAX_NAMED = 10


def find_problems(state: ProxyState, *, may_be_unreachable: bool = False) -> list[str]:
    """Return a text for each problem; empty if there is none.

    Args:
        may_be_unreachable: it is not a problem that the upstream could not be reached.
    """
    found = fault_problems(state.faults)
    if not may_be_unreachable:
        found += [
            f"upstream {state.upstream} could not be reached: {reason} ({_times(count)})"
            for reason, count in state.unreachable.items()
        ]
    return found + [f"bytes that are not a frame: {text}" for text in state.leftovers]


def problem_report(state: ProxyState, problems: list[str]) -> str:
    """Return the problems and the transcript, as a text for a person."""
    return report_text(problems, state.faults, state.journal, _about_overlapped(state))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _about_overlapped(state: ProxyState) -> Iterator[str]:
    """Say where numbers of exchanges depend on time."""
    numbers = [str(found.number) for found in state.journal.connections if found.overlapped]
    if numbers:
        more = ["..."] if len(numbers) > _MAX_NAMED else []
        yield (
            f"overlapped: connection {', '.join([*numbers[:_MAX_NAMED], *more])}:"
            " the client sent bytes while a reply was under way, so numbers of requests and match"
            " depend on time; give framing=, or unit='connection'"
        )
