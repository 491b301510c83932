"""What actions make of a stream: its bytes, and at which byte each pause, hold and end comes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from esps_portal.faults.actions import Action, End, Hold, OtherWay, Pause, Send

UNIT = bytes(range(65, 91))  # 26 bytes, each different

# Each way to strike a stream whose frames nobody knows.
STREAM: list[tuple[str, dict[str, Any]]] = [
    ("latency", {"seconds": 2}),
    ("slice", {"at": 1, "pause": 3}),
    ("slice", {"at": 25, "pause": 3}),
    ("slice", {"at": 26, "pause": 3}),
    ("slice", {"every": 4, "pause": 3}),
    ("slice", {"every": 26, "pause": 3}),
    ("close", {}),
    ("reset", {}),
    ("half-close", {}),
    ("stall", {}),
    ("deaf", {}),
    ("truncate", {"bytes": 0}),
    ("truncate", {"bytes": 5}),
    ("truncate", {"bytes": 26}),
    ("truncate", {"bytes": 27}),
    ("garbage", {"bytes": 9, "seed": 1}),
    ("corrupt", {"at": 0, "bytes": 4}),
    ("corrupt", {"at": 24, "bytes": 4, "seed": 5}),
    ("patch", {"at": 0, "hex": "2323"}),
    ("patch", {"at": 25, "hex": "232323"}),
    ("patch", {"at": 26, "hex": "23"}),
]


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
