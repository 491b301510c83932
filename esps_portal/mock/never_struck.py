"""Why a fault never struck: how often it was selected, and its nearest miss."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import attrs

from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.faults.matching import Match
from esps_portal.faults.selectors import works_over
from esps_portal.faults.target import FaultTarget, MissReason, NearMiss
from esps_portal.journal.records import RecordedConnection, RecordedExchange
from esps_portal.journal.shown_bytes import shown_in_line
from esps_portal.journal.transcript import describe_exchange, where
from esps_portal.mock.matching import describe_argument
from esps_portal.mock.stubs import describe_call
from esps_portal.patterns.meant_patterns import meant_as_pattern


def describe_never_struck(faults: FaultRegistry) -> list[str]:
    """Return two lines for a report for each fault that never struck: which, and why."""
    faults.explain()
    return [
        f"fault never struck: {fault}\n    {_selected_and_why(fault, faults)}"
        for fault in faults.never_struck
    ]


def why_never_struck(fault: Fault, faults: FaultRegistry) -> str:
    """Return how often a fault was selected, its nearest miss and the reason of that, in a line.

    Args:
        faults: where it was placed.
    """
    faults.explain()
    return _selected_and_why(fault, faults)


def _selected_and_why(fault: Fault, faults: FaultRegistry) -> str:
    selected = f"selected {fault.selected} time{'s' * (fault.selected != 1)}"
    return f"{selected}; {_why(fault, faults)}"


def _why(fault: Fault, faults: FaultRegistry) -> str:
    miss = _nearest_miss(fault)
    in_force = fault in faults.in_force
    if miss is None and fault.strikes_at_age:
        return f"no connection was as old as that {_while_placed(in_force=in_force)}"
    if miss is None or miss.reason is MissReason.GREETING:
        # If there is a server behind it, faults decide on a reply when the server sends it.
        unit = "reply" if faults.where.has_server and not fault.strikes_requests else "request"
        event = "connection was accepted" if fault.strikes_connections else f"{unit} came"
        if fault.type.at_handshake:
            event = "TLS handshake began"
        why = f"no {event} {_while_placed(in_force=in_force)}"
        return why if miss is None else f"{why}; only reply=0 strikes what the server sends first"
    if miss.reason is MissReason.NO_CHANGE:
        return _why_no_change(fault, miss)
    target = _describe_target(miss.target)
    begun = miss.reason in (MissReason.BEGUN, MissReason.FOUND_BEGUN)
    reason = _why_begun(fault, faults) if begun else _reason(fault, miss)
    return f"nearest: {target}: {reason}" if target else reason


def _why_begun(fault: Fault, faults: FaultRegistry) -> str:
    unit, sender, other = "reply", "server", "client"
    if fault.strikes_requests:
        unit, sender, other = "request", "client", "server"
    why = f"its {unit} had begun before the fault was placed"
    if faults.where.has_frames:
        return why
    return (
        f"{why}: without framing one {unit} is all that the {sender} sends until the {other}"
        " sends, and faults strike only what begins later; give framing=, or place it earlier"
    )


def _while_placed(*, in_force: bool) -> str:
    return "after it was placed" if in_force else "before it was removed"


def _why_no_change(fault: Fault, miss: NearMiss) -> str:
    size = miss.reply_size
    is_connection = fault.strikes_whole_connections
    unit = "the reply" if fault.to == "client" else "the request"
    if is_connection:
        unit = "what was sent on the connection"
    if size < fault.offset:
        return f"{unit} is {size} bytes long, shorter than offset {fault.offset}"
    why = f"it changes nothing in {unit}, which is {size} bytes long"
    if not miss.found_at:
        return why
    key = "match" if fault.strikes_requests else "reply_match"
    offset = f", and {fault.offset} bytes later by its offset" if fault.offset else ""
    return (
        f"{why}: without framing it acts from the last byte on that {key} finds,"
        f" here byte {miss.found_at + 1}{offset}; give framing="
    )


def _nearest_miss(fault: Fault) -> NearMiss | None:
    """Return the nearest miss: of calls of other services, the one with the most similar name.

    Of those that do not match, the one with the most in common.
    """
    miss = fault.nearest
    if miss is not None and miss.reason is MissReason.MATCH and fault.match is not None:
        wanted = fault.match.literal or b""
        unmatched = fault.misses.unmatched
        data = max(unmatched, key=lambda data: _most_in_common(data, wanted), default=b"")
        return attrs.evolve(miss, target=unmatched.get(data, miss.target))
    if miss is None or miss.reason is not MissReason.SERVICE or not fault.misses.passed:
        return miss
    service = (fault.service or "").encode()
    names = [name.decode("latin-1") for name in fault.misses.passed]
    (similar, *_) = difflib.get_close_matches(service.decode(), names, 1, cutoff=0)
    return NearMiss(MissReason.SERVICE, fault.misses.passed[similar.encode("latin-1")])


def _most_in_common(data: bytes, wanted: bytes) -> int:
    """Return the length of the longest substring of both."""
    matcher = difflib.SequenceMatcher(None, data, wanted, autojunk=False)
    return matcher.find_longest_match().size


def _reason(fault: Fault, miss: NearMiss) -> str:  # noqa: PLR0911 - one for each reason
    target = miss.target
    match miss.reason:
        case MissReason.TRANSPORT:
            return _why_not_over(target.transport, fault)
        case MissReason.SERVICE:
            return _why_not_service(target.service, fault)
        case MissReason.CONNECTION:
            return _never_came("connection", fault.connection, fault.counts.connections) or (
                f"it is connection {miss.connection_number}, not {_list(fault.connection)}"
            )
        case MissReason.REQUEST:
            return _never_came("request", fault.request, fault.counts.requests)
        case MissReason.REPLY:
            return _no_such_reply(fault, target)
        case MissReason.MATCH:
            text = f"'{shown_in_line(target.request_data)}' does not match {fault.match}"
            return f"{text}{_hint(fault.match, target.request_data)}"
        case MissReason.AGE:
            return f"the connection was {target.age:.3f} s old, not {fault.age:g} s"
        case MissReason.REPLY_MATCH:
            reply = target.record.reply if isinstance(target.record, RecordedExchange) else b""
            hint = _hint(fault.reply_match, reply)
            return f"its reply does not match {fault.reply_match}{hint}"
        case MissReason.CLAIMED:
            return "an earlier fault struck it"
    return "no reply was sent that it could change"


def _hint(match: Match | None, data: bytes) -> str:
    literal = None if match is None else match.literal
    return "" if literal is None else meant_as_pattern(literal, data)


def _why_not_service(service: bytes | None, fault: Fault) -> str:
    if service is None:
        return f"it calls no service; the fault is for {fault.service!r}"
    return f"service is {describe_argument(service)}, not {fault.service!r}"


def _why_not_over(transport: str, fault: Fault) -> str:
    came = f"it came over {transport.upper()}"
    if transport in fault.type.transports:
        return f"{came}, not {' or '.join(fault.transports).upper()}"
    return f"{came}; {works_over(fault.kind)}"


def _no_such_reply(fault: Fault, target: FaultTarget) -> str:
    if fault.reply != frozenset({0}):
        return _never_came("reply", fault.reply, fault.counts.replies)
    if isinstance(target.record, RecordedExchange):
        return "reply 0 is what the server sends first; here the client sent bytes before it did"
    return "reply 0 is the greeting, and no connection was accepted after it was placed"


def _never_came(name: str, numbers: frozenset[int] | None, matched: int) -> str:
    """Return a text that no connection or request had such a number; empty if one had."""
    if not numbers or min(numbers) <= matched:
        return ""
    wanted = _plural(name) if len(numbers) > 1 else name
    found = name if matched == 1 else _plural(name)
    return f"{wanted} {_list(numbers)} never came: {matched} {found} matched"


def _plural(name: str) -> str:
    return "replies" if name == "reply" else f"{name}s"


def _list(numbers: Iterable[int] | None) -> str:
    return ", ".join(map(str, sorted(numbers or ())))


def _describe_target(target: FaultTarget) -> str:
    """Return a target as the transcript shows it; empty if the journal has no record of it."""
    record = target.record
    if record is None:
        return ""
    if isinstance(record, RecordedConnection):
        return f"tcp #{record.number}"
    if isinstance(record, RecordedExchange):
        return describe_exchange(record)
    name = record.service.encode() if record.is_call else record.verb.encode()
    return f"{describe_call(name, record.args)} ({where(record)})"
