"""The plan of faults for one datagram: how many are sent, when, from where, with which bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from esps_portal.faults.changed_bytes import corrupt, overwrite

if TYPE_CHECKING:
    from esps_portal.faults.fault import Fault


@attrs.frozen
class DatagramPlan:
    """What to send in place of one datagram.

    Attributes:
        datagrams: what is sent, after ``delay`` seconds.
        hold: how many later replies are sent first, if they come within ``delay`` seconds; 0: none.
        held_by: the fault that holds it back.
        from_other_port: send them from another port.
    """

    datagrams: tuple[bytes, ...] = ()
    delay: float = 0.0
    hold: int = 0
    from_other_port: bool = False
    held_by: Fault | None = attrs.field(default=None, eq=False)


def apply_fault(  # noqa: C901, PLR0911 - one for each fault type
    fault: Fault, plan: DatagramPlan, pad: Callable[[bytes, int], bytes]
) -> DatagramPlan:
    """Return a plan as a further fault changes it.

    Args:
        pad: pads a datagram to a length in bytes.
    """
    given = fault.parameters

    def each(change: Callable[[bytes], bytes]) -> DatagramPlan:
        return attrs.evolve(plan, datagrams=tuple(map(change, plan.datagrams)))

    match fault.kind:
        case "drop":
            return DatagramPlan()
        case "duplicate":
            return attrs.evolve(plan, datagrams=plan.datagrams * given["copies"])
        case "reorder":
            delay = plan.delay + given["seconds"]
            return attrs.evolve(plan, delay=delay, hold=given["replies"], held_by=fault)
        case "delay":
            return attrs.evolve(plan, delay=plan.delay + fault.next_delay())
        case "truncate":
            return each(lambda datagram: datagram[: given["bytes"]])
        case "corrupt" if given["at"] is not None:
            return each(lambda datagram: _corrupt_at(datagram, given))
        case "corrupt":
            return each(lambda datagram: corrupt(datagram, given["bytes"], given["seed"]))
        case "patch":
            replacement = bytes.fromhex(given["hex"])
            return each(lambda datagram: overwrite(datagram, given["at"], replacement))
        case "oversize":
            return each(lambda datagram: pad(datagram, given["bytes"]))
        case kind:
            assert kind == "wrong-source", kind  # noqa: S101 - every other type is handled above
            return attrs.evolve(plan, from_other_port=True)


def _corrupt_at(datagram: bytes, given: dict[str, int]) -> bytes:
    start, count = given["at"], given["bytes"]
    end = start + count
    return datagram[:start] + corrupt(datagram[start:end], count, given["seed"]) + datagram[end:]


def pad_line(datagram: bytes, size: int) -> bytes:
    """Add an argument to the last line of a reply that makes the datagram ``size`` bytes long."""
    missing = size - len(datagram)
    if missing < len(" x"):
        return datagram
    return datagram[:-1] + b" " + b"x" * (missing - 1) + b"\n"


def pad_bytes(datagram: bytes, size: int) -> bytes:
    """Add zero bytes at the end that make the datagram ``size`` bytes long."""
    return datagram.ljust(size, b"\0")
