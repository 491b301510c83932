"""What a fault makes of a reply: a list of actions that a writer performs in place of sending it.

Nothing here sends or waits. Over TCP a reply comes line by line: a fault that replaces the reply
acts at its first line, a fault that shapes it acts on every line.
"""

from __future__ import annotations

import random

import attrs

from esps_portal.faults.fault import Fault
from esps_portal.journal.records import RecordedCall

# Pieces per second over a slow link: enough to look continuous, few enough to cost little.
_PIECES_PER_SECOND = 50


@attrs.frozen
class Send:
    """Send these bytes at once."""

    data: bytes


@attrs.frozen
class Pause:
    """Wait for so many seconds."""

    seconds: float


@attrs.frozen
class Hold:
    """Hold these bytes back, until enough replies are held or ``seconds`` after the first.

    Attributes:
        replies: so many held replies are sent together.
        final: the bytes end a reply, which counts.
    """

    data: bytes
    replies: int
    seconds: float
    final: bool


@attrs.frozen
class End:
    """End the connection: ``close`` (FIN), ``reset`` (RST), ``half-close`` or ``stall``."""

    how: str


Action = Send | Pause | Hold | End


@attrs.define
class FaultPlan:
    """One reply under one fault.

    Attributes:
        record: of the request, which gets the name of the fault once it has struck.
        begun: the fault has acted already: at the first line, or before execution.
        has_struck: it has changed something.
    """

    fault: Fault
    record: RecordedCall | None = None
    begun: bool = False
    has_struck: bool = False
    # Of a reply that is truncated, in bytes.
    _sent: int = 0

    def before(self) -> list[Action]:
        """Return the actions in place of executing the request, or before it (``latency``)."""
        self.begun = True  # latency delays a reply once
        self.record_strike()
        if self.fault.kind == "latency":
            return [Pause(self.fault.next_delay())]
        return self._replacement() or []

    def line(self, line: bytes, *, final: bool) -> list[Action]:
        """Return the actions in place of sending a line; ``final``: it ends the reply."""
        actions = self._line(line, final=final)
        if actions != [Send(line)]:
            self.record_strike()
        elif final and not self.has_struck:
            self.fault.record_no_change(self._sent + len(line))
        return actions

    def record_strike(self) -> None:
        """Count a strike of the fault, once for each reply."""
        if not self.has_struck:
            self.has_struck = True
            self.fault.record_strike()
            if self.record is not None:
                self.record.fault = str(self.fault)

    def _line(  # noqa: PLR0911 - one for each fault type
        self, line: bytes, *, final: bool
    ) -> list[Action]:
        first, self.begun = not self.begun, True
        kind, parameters = self.fault.kind, self.fault.parameters
        replacement = self._replacement()
        if replacement is not None:
            return replacement if first else []
        if kind == "truncate":
            return self._truncate(line, parameters["bytes"], final=final)
        if kind == "latency":
            return [Pause(self.fault.next_delay()), Send(line)] if first else [Send(line)]
        if kind == "bandwidth":
            return _throttle(line, parameters["bytes_per_second"])
        if kind == "slice":
            cut = _cut_position(line, parameters["at"])
            if cut == len(line):
                return [Send(line)]
            return [Send(line[:cut]), Pause(parameters["pause"]), Send(line[cut:])]
        if kind == "coalesce":
            if first and final and parameters["replies"] == 1:
                return [Send(line)]  # it would be let go at once
            return [Hold(line, parameters["replies"], parameters["seconds"], final)]
        assert kind == "no-terminator", kind  # noqa: S101 - every other type is handled above
        return [Send(line[:-1] if final else line)]

    def datagram(self, datagram: bytes) -> DatagramPlan:
        """Return what to send in place of a reply over UDP."""
        plan = _plan(self.fault, datagram)
        if self.fault.when == "before":
            return plan  # it struck before execution
        if plan != DatagramPlan((datagram,)) or self.fault.kind == "delay":
            self.record_strike()
        else:
            self.fault.record_no_change(len(datagram))
        return plan

    def _truncate(self, line: bytes, size: int, *, final: bool) -> list[Action]:
        """Return the part of this line that is within the first ``size`` bytes of the reply."""
        piece = line[: size - self._sent]
        if not final and len(piece) < size - self._sent:
            self._sent += len(piece)
            return [Send(piece)]
        return [Send(piece), End("close")]

    def _replacement(self) -> list[Action] | None:
        """Return the actions in place of the whole reply; ``None``: the fault only shapes it."""
        kind, parameters = self.fault.kind, self.fault.parameters
        if kind in ("close", "reset", "half-close", "stall"):
            return [End(kind)]
        if kind == "garbage":
            return [Send(_random_bytes(parameters["bytes"], parameters["seed"])), End("close")]
        return None


@attrs.frozen
class DatagramPlan:
    """What to send in place of one datagram.

    Attributes:
        datagrams: these, after ``delay`` seconds.
        hold: wait until this many later replies are sent, for ``delay`` seconds at most; 0: no.
        from_other_port: send them from another port.
    """

    datagrams: tuple[bytes, ...] = ()
    delay: float = 0.0
    hold: int = 0
    from_other_port: bool = False


def _plan(fault: Fault, datagram: bytes) -> DatagramPlan:  # noqa: PLR0911 - one for each fault type
    kind, parameters = fault.kind, fault.parameters
    if kind == "drop":
        return DatagramPlan()
    if kind == "duplicate":
        return DatagramPlan((datagram,) * parameters["copies"])
    if kind == "reorder":
        return DatagramPlan((datagram,), parameters["seconds"], parameters["replies"])
    if kind == "delay":
        # With when=before, it was delayed before execution.
        return DatagramPlan((datagram,), fault.next_delay() if fault.when == "after" else 0.0)
    if kind == "truncate":
        return DatagramPlan((datagram[: parameters["bytes"]],))
    if kind == "corrupt":
        return DatagramPlan((_corrupt(datagram, parameters["bytes"], parameters["seed"]),))
    if kind == "oversize":
        return DatagramPlan((_pad(datagram, parameters["bytes"]),))
    assert kind == "wrong-source", kind  # noqa: S101 - every other type is handled above
    return DatagramPlan((datagram,), from_other_port=True)


def _throttle(line: bytes, bytes_per_second: float) -> list[Action]:
    size = max(1, int(bytes_per_second / _PIECES_PER_SECOND))
    actions: list[Action] = []
    for start in range(0, len(line), size):
        piece = line[start : start + size]
        # The pause comes first: at that rate the bytes cannot arrive earlier.
        actions += [Pause(len(piece) / bytes_per_second), Send(piece)]
    return actions


def _cut_position(line: bytes, at: int | str) -> int:
    if at == "middle":
        return len(line) // 2
    return len(line) - 1 if at == "before-lf" else min(int(at), len(line))


def _corrupt(datagram: bytes, count: int, seed: int) -> bytes:
    changed = bytearray(datagram)
    numbers = random.Random(seed)  # noqa: S311 - for tests, not secrets
    for position in numbers.sample(range(len(changed)), min(count, len(changed))):
        changed[position] ^= numbers.randrange(1, 256)
    return bytes(changed)


def _pad(datagram: bytes, size: int) -> bytes:
    """Add an argument to the last line that makes the datagram ``size`` bytes long."""
    missing = size - len(datagram)
    if missing < len(" x"):
        return datagram
    return datagram[:-1] + b" " + b"x" * (missing - 1) + b"\n"


def _random_bytes(count: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(count)  # noqa: S311 - for tests, not secrets
