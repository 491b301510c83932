"""What each type of fault does to the bytes of one unit.

An effect gets the bytes of its unit in pieces of any size, and returns actions to perform instead
of sending each piece. It counts bytes, so it acts at the same byte however the unit is cut into
pieces. A piece may be empty: an effect that ends the connection then acts, one that changes bytes
does not.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

import attrs

from esps_portal.faults.actions import Action, End, Hold, Pause, Send
from esps_portal.faults.changed_bytes import corrupt, overwrite
from esps_portal.faults.fault import Fault

# Pieces per second over a slow link: enough to look continuous, few enough to cost little.
_PIECES_PER_SECOND = 50


@attrs.frozen
class Piece:
    """Some bytes of a unit.

    Attributes:
        is_frame: it is a whole frame, such as a line of a reply of several lines.
        ends_frame: a frame ends with it.
        ends_unit: the unit ends with it. None of that is known without framing.
        terminator: how many of its last bytes only end the frame, such as 1 for LF.
    """

    data: bytes
    is_frame: bool = False
    ends_frame: bool = False
    ends_unit: bool = False
    terminator: int = 0


class Effect(Protocol):
    """How one fault changes one unit."""

    def feed(self, piece: Piece, /) -> list[Action]:
        """Return the actions to perform instead of sending a piece."""


@attrs.define
class _Nothing:
    """Changes nothing: a fault of datagrams has no effect on a stream."""

    def feed(self, piece: Piece) -> list[Action]:
        return [Send(piece.data)]


@attrs.define
class _InPlaceOfRest:
    """Something in place of the rest: FIN, RST, silence, or random bytes."""

    _actions: list[Action]

    def feed(self, _: Piece) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions


@attrs.define
class _Deaf:
    """The rest passes as it is; what the other side sends is never read again."""

    _has_begun: bool = False

    def feed(self, piece: Piece) -> list[Action]:
        first, self._has_begun = not self._has_begun, True
        return [End("deaf"), Send(piece.data)] if first else [Send(piece.data)]


@attrs.define
class _Truncate:
    """The first bytes, then FIN."""

    left: int
    _is_over: bool = False

    def feed(self, piece: Piece) -> list[Action]:
        if self._is_over:
            return []
        head = piece.data[: self.left]
        self.left -= len(head)
        # A unit of exactly this length ends too: its receiver must get the FIN.
        if self.left and not piece.ends_unit:
            return [Send(head)]
        self._is_over = True
        return [Send(head), End("close")]


@attrs.define
class _Latency:
    """The unit comes late as a whole."""

    _next_delay: Callable[[], float]
    _has_begun: bool = False

    def feed(self, piece: Piece) -> list[Action]:
        if self._has_begun or not piece.data:
            return [Send(piece.data)]
        self._has_begun = True
        return [Pause(self._next_delay(), since_arrival=True), Send(piece.data)]


@attrs.define
class _Bandwidth:
    """The unit comes at a rate."""

    bytes_per_second: float

    def feed(self, piece: Piece) -> list[Action]:
        size = max(1, int(self.bytes_per_second / _PIECES_PER_SECOND))
        actions: list[Action] = []
        for start in range(0, len(piece.data), size):
            data = piece.data[start : start + size]
            # The pause comes first: at that rate the bytes cannot arrive earlier.
            pause = Pause(len(data) / self.bytes_per_second, rate_of=self)
            actions += [pause, Send(data)]
        return actions


@attrs.define
class _Slice:
    """Each frame, or the unit where frames are not known, is cut at a place."""

    at: int | str
    pause: float
    _position: int = 0

    def feed(self, piece: Piece) -> list[Action]:
        data, begun = piece.data, self._position
        cut = self._place(piece) - begun
        self._position = 0 if piece.ends_frame else begun + len(data)
        if data and cut == 0 and begun:  # it is where this piece begins
            return [Pause(self.pause), Send(data)]
        if not 0 < cut < len(data):
            return [Send(data)]
        return [Send(data[:cut]), Pause(self.pause), Send(data[cut:])]

    def _place(self, piece: Piece) -> int:
        """Return the place, counted from where the frame begins."""
        if self.at == "middle":
            return len(piece.data) // 2
        if self.at == "before-lf":
            return len(piece.data) - (1 if piece.data.endswith(b"\n") else piece.terminator)
        return int(self.at)


@attrs.define
class _SliceEvery:
    """The unit comes in pieces of a size, with pauses between them."""

    every: int
    pause: float
    _position: int = 0

    def feed(self, piece: Piece) -> list[Action]:
        actions: list[Action] = []
        data = piece.data
        while data:
            if self._position and self._position % self.every == 0:
                actions.append(Pause(self.pause))
            size = self.every - self._position % self.every
            actions.append(Send(data[:size]))
            self._position += len(data[:size])
            data = data[size:]
        if piece.ends_frame:
            self._position = 0
        return actions


@attrs.define
class _Coalesce:
    """Replies are held back, and sent together."""

    replies: int
    seconds: float
    _has_begun: bool = False

    def feed(self, piece: Piece) -> list[Action]:
        if not piece.data:
            return []
        first, self._has_begun = not self._has_begun, True
        if first and piece.ends_unit and self.replies == 1:
            return [Send(piece.data)]  # it would be let go at once
        return [Hold(piece.data, self.replies, self.seconds, piece.ends_unit)]


@attrs.define
class _NoTerminator:
    """The unit without its last terminator."""

    def feed(self, piece: Piece) -> list[Action]:
        kept = len(piece.data) - (piece.terminator if piece.ends_unit else 0)
        return [Send(piece.data[:kept])]


@attrs.define
class _Patch:
    """Some bytes are replaced, at a place counted from where the effect begins."""

    at: int
    replacement: bytes
    _position: int = 0

    def feed(self, piece: Piece) -> list[Action]:
        start = self.at - self._position
        self._position += len(piece.data)
        return [Send(overwrite(piece.data, start, self.replacement))]


@attrs.define
class _CorruptAt:
    """So many bytes from a place on are changed."""

    at: int
    count: int
    _numbers: random.Random
    _position: int = 0

    def feed(self, piece: Piece) -> list[Action]:
        start, end = self.at - self._position, self.at + self.count - self._position
        self._position += len(piece.data)
        changed = bytearray(piece.data)
        for place in range(max(0, start), min(end, len(changed))):
            changed[place] ^= self._numbers.randrange(1, 256)
        return [Send(bytes(changed))]


@attrs.define
class _Corrupt:
    """Some bytes of the first whole frame are changed; its terminator is not."""

    count: int
    seed: int
    _is_over: bool = False

    def feed(self, piece: Piece) -> list[Action]:
        if self._is_over or not piece.data:
            return [Send(piece.data)]
        self._is_over = True
        kept = len(piece.data) - (piece.terminator % len(piece.data))
        return [Send(corrupt(piece.data[:kept], self.count, self.seed) + piece.data[kept:])]


def bytes_before_end(effect: Effect) -> int:
    """Return how many more bytes an effect that ends the connection lets pass."""
    return effect.left if isinstance(effect, _Truncate) else 0


def effect_of(fault: Fault) -> Effect:
    """Return the effect of a fault on one unit, from where it begins to act."""
    make = _EFFECTS.get(fault.kind)
    return _Nothing() if make is None else make(fault, fault.parameters)


def _end(fault: Fault, _: dict[str, Any]) -> Effect:
    return _InPlaceOfRest([End(fault.kind)])


def _garbage(_: Fault, given: dict[str, Any]) -> Effect:
    numbers = random.Random(given["seed"])  # noqa: S311 - for tests, not secrets
    return _InPlaceOfRest([Send(numbers.randbytes(given["bytes"])), End("close")])


def _slice(_: Fault, given: dict[str, Any]) -> Effect:
    if given["every"]:
        return _SliceEvery(given["every"], given["pause"])
    return _Slice(given["at"], given["pause"])


def _corruption(_: Fault, given: dict[str, Any]) -> Effect:
    if given["at"] is None:
        return _Corrupt(given["bytes"], given["seed"])
    numbers = random.Random(given["seed"])  # noqa: S311 - for tests, not secrets
    return _CorruptAt(given["at"], given["bytes"], numbers)


_EFFECTS: dict[str, Callable[[Fault, dict[str, Any]], Effect]] = {
    "close": _end,
    "reset": _end,
    "half-close": _end,
    "stall": _end,
    "deaf": lambda _, __: _Deaf(),
    "garbage": _garbage,
    "truncate": lambda _, given: _Truncate(given["bytes"]),
    "latency": lambda fault, _: _Latency(fault.next_delay),
    "bandwidth": lambda _, given: _Bandwidth(given["bytes_per_second"]),
    "slice": _slice,
    "coalesce": lambda _, given: _Coalesce(given["replies"], given["seconds"]),
    "no-terminator": lambda _, __: _NoTerminator(),
    "patch": lambda _, given: _Patch(given["at"], bytes.fromhex(given["hex"])),
    "corrupt": _corruption,
}
