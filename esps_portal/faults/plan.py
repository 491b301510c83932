"""What a fault makes of a unit: a list of actions that a writer takes in place of sending it.

Nothing here sends or waits. Over TCP a reply comes line by line, for a stream has many: what
replaces a reply happens at its first line, what shapes it happens to every line.
"""

from __future__ import annotations

import random

import attrs

from esps_portal.faults.fault import Fault

# How often in a second a slow link carries something: small pieces at 50 Hz look like a slow link.
_TICKS = 50


@attrs.frozen
class Send:
    """Put these bytes on the wire, at once."""

    data: bytes


@attrs.frozen
class Pause:
    """Wait, in seconds."""

    seconds: float


@attrs.frozen
class Hold:
    """Hold these bytes until ``replies`` are held, or the first has been for ``seconds``."""

    data: bytes
    replies: int
    seconds: float
    #: It ends a reply, and counts.
    final: bool


@attrs.frozen
class End:
    """The connection is over: ``close`` (FIN), ``reset`` (RST), ``half-close`` or ``stall``."""

    how: str


Action = Send | Pause | Hold | End


@attrs.define
class FaultPlan:
    """One answer over TCP under one fault."""

    fault: Fault
    #: Something has happened to it already.
    begun: bool = False
    _has_struck: bool = False
    _sent: int = 0

    def before(self) -> list[Action]:
        """Return what happens in place of executing the request, or before it (``latency``)."""
        self.begun = True  # it is late now, and need not be so again
        self.note_struck()
        if self.fault.kind == "latency":
            return [Pause(self.fault.lateness())]
        return self._replacement() or []

    def line(self, line: bytes, *, final: bool) -> list[Action]:
        """Return what happens in place of sending ``line``, which is the last of the answer."""
        actions = self._line(line, final=final)
        if actions != [Send(line)]:
            self.note_struck()
        elif final and not self._has_struck:
            self.fault.note_no_change(self._sent + len(line))
        return actions

    def note_struck(self) -> None:
        """Note that its fault has struck; once for a reply."""
        if not self._has_struck:
            self._has_struck = True
            self.fault.strike()

    def _line(  # noqa: PLR0911 - one for each word
        self, line: bytes, *, final: bool
    ) -> list[Action]:
        first, self.begun = not self.begun, True
        kind, parameters = self.fault.kind, self.fault.parameters
        replacement = self._replacement()
        if replacement is not None:
            return replacement if first else []
        if kind == "truncate":
            return self._truncated(line, parameters["bytes"], final=final)
        if kind == "latency":
            return [Pause(self.fault.lateness()), Send(line)] if first else [Send(line)]
        if kind == "bandwidth":
            return _dripped(line, parameters["bytes_per_second"])
        if kind == "slice":
            cut = _cut(line, parameters["at"])
            if cut == len(line):
                return [Send(line)]
            return [Send(line[:cut]), Pause(parameters["pause"]), Send(line[cut:])]
        if kind == "coalesce":
            return [Hold(line, parameters["replies"], parameters["seconds"], final)]
        assert kind == "no-terminator", kind  # noqa: S101 - every other word stands above
        return [Send(line[:-1] if final else line)]

    def datagram(self, datagram: bytes) -> Datagrams:
        """Return what leaves in place of a reply over UDP."""
        plan = _plan(self.fault, datagram)
        if self.fault.when == "before":
            return plan  # it has struck already
        if plan != Datagrams((datagram,)) or self.fault.kind == "delay":
            self.note_struck()
        else:
            self.fault.note_no_change(len(datagram))
        return plan

    def _truncated(self, line: bytes, size: int, *, final: bool) -> list[Action]:
        """Return as much of the answer's beginning as this line has."""
        piece = line[: size - self._sent]
        if not final and len(piece) < size - self._sent:
            self._sent += len(piece)
            return [Send(piece)]
        return [Send(piece), End("close")]

    def _replacement(self) -> list[Action] | None:
        """Return what comes in place of the whole answer; ``None``: the fault only shapes it."""
        kind, parameters = self.fault.kind, self.fault.parameters
        if kind in ("close", "reset", "half-close", "stall"):
            return [End(kind)]
        if kind == "garbage":
            return [Send(_octets(parameters["bytes"], parameters["seed"])), End("close")]
        return None


@attrs.frozen
class Datagrams:
    """What leaves in place of one datagram.

    Attributes:
        datagrams: at once, or after ``delay`` seconds.
        hold: until this many later replies have left, or for ``delay`` seconds; 0: not held.
        elsewhere: they leave from another port.
    """

    datagrams: tuple[bytes, ...] = ()
    delay: float = 0.0
    hold: int = 0
    elsewhere: bool = False


def _plan(fault: Fault, datagram: bytes) -> Datagrams:  # noqa: PLR0911 - one for each word
    kind, parameters = fault.kind, fault.parameters
    if kind == "drop":
        return Datagrams()
    if kind == "duplicate":
        return Datagrams((datagram,) * parameters["copies"])
    if kind == "reorder":
        return Datagrams((datagram,), parameters["seconds"], parameters["replies"])
    if kind == "delay":
        # Before execution it was late already.
        return Datagrams((datagram,), fault.lateness() if fault.when == "after" else 0.0)
    if kind == "truncate":
        return Datagrams((datagram[: parameters["bytes"]],))
    if kind == "corrupt":
        return Datagrams((_corrupted(datagram, parameters["bytes"], parameters["seed"]),))
    if kind == "oversize":
        return Datagrams((_enlarged(datagram, parameters["bytes"]),))
    assert kind == "wrong-source", kind  # noqa: S101 - every other word stands above
    return Datagrams((datagram,), elsewhere=True)


def _dripped(line: bytes, bytes_per_second: float) -> list[Action]:
    size = max(1, int(bytes_per_second / _TICKS))
    actions: list[Action] = []
    for start in range(0, len(line), size):
        piece = line[start : start + size]
        # The wait comes first: at that rate the bytes cannot have arrived earlier.
        actions += [Pause(len(piece) / bytes_per_second), Send(piece)]
    return actions


def _cut(line: bytes, at: int | str) -> int:
    if at == "middle":
        return len(line) // 2
    return len(line) - 1 if at == "before-lf" else min(int(at), len(line))


def _corrupted(datagram: bytes, octets: int, seed: int) -> bytes:
    changed = bytearray(datagram)
    chance = random.Random(seed)  # noqa: S311 - chance for tests, not secrets
    for place in chance.sample(range(len(changed)), min(octets, len(changed))):
        changed[place] ^= chance.randrange(1, 256)
    return bytes(changed)


def _enlarged(datagram: bytes, size: int) -> bytes:
    """Give the last line one more argument, so long that the datagram has the size."""
    missing = size - len(datagram)
    if missing < len(" x"):
        return datagram
    return datagram[:-1] + b" " + b"x" * (missing - 1) + b"\n"


def _octets(count: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(count)  # noqa: S311 - the same
