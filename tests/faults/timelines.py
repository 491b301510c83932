"""What actions make of a stream: its bytes, and at which byte each pause, hold and end comes."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from esps_portal.faults.actions import Action, End, Hold, OtherWay, Pause, Send


@attrs.define
class Timeline:
    """Bytes, and what comes before the next of them.

    Two plans that do the same at the same byte have the same timeline, however they cut what they
    send.
    """

    data: bytes = b""
    events: list[tuple[int, Action]] = attrs.field(factory=list)

    @classmethod
    def of(cls, actions: Iterable[Action]) -> Timeline:
        found = cls()
        for action in actions:
            if isinstance(action, Send):
                found.data += action.data
            elif isinstance(action, Hold):
                # What is held is bytes too; how many replies, and for how long, is an event.
                begins = not found.events or not isinstance(found.events[-1][1], Hold)
                if begins or action.final:
                    held = attrs.evolve(action, data=b"")
                    found.events.append((len(found.data), held))
                found.data += action.data
            else:
                found.events.append((len(found.data), action))
        return found

    @property
    def waited(self) -> float:
        """All pauses together, in seconds."""
        return sum(event.seconds for _, event in self.events if isinstance(event, Pause))

    @property
    def ends(self) -> list[tuple[int, str]]:
        """Each end, and after how many bytes it comes."""
        return [(place, event.how) for place, event in self.events if isinstance(event, End)]


def other_way(actions: Iterable[Action]) -> list[Action]:
    """Return what is performed on the way back."""
    return [back for action in actions if isinstance(action, OtherWay) for back in action.actions]
