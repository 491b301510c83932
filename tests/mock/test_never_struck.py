"""A fault that never struck: which ones are a problem, and how the nearest miss is described."""

from __future__ import annotations

import re
from typing import Any

import pytest

from esps_portal.faults.connection_faults import ConnectionFaults
from esps_portal.faults.datagram_plan import pad_line
from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.faults.fault_types import FAULT_TYPES
from esps_portal.faults.plan import FaultPlan
from esps_portal.faults.target import FaultTarget, Stage
from esps_portal.journal.journal import Journal
from esps_portal.journal.records import RecordedCall
from esps_portal.mock.never_struck import why_never_struck
from esps_portal.mock.scripted import Script
from esps_portal.mock.verification import find_problems, problem_report
from esps_portal.protocol.messages import readable_request
from tests.cases import cases

REMOTE = ("127.0.0.1", 4000)


def struck(faults: FaultRegistry, target: FaultTarget) -> Fault | None:
    """The first fault that strikes a target."""
    if target.is_connection:
        return faults.strike_connection(target)
    parts = faults.parts(target)
    return parts[0].fault if parts else None


def call(line: bytes, on: int = 1) -> FaultTarget:
    """A request over TCP on a numbered connection, or over UDP where that is 0."""
    transport = "tcp" if on else "udp"
    request = readable_request(line)
    assert request is not None
    record = RecordedCall(transport, REMOTE, on, line, request, 0.0, 1)
    is_call = request.verb == b"CALL"
    service = request.args[0] if is_call else None
    return FaultTarget(transport, on or REMOTE, service, record, request_data=line)


def connection(number: int) -> FaultTarget:
    record = Journal().opened(REMOTE, 0.0)
    record.number = number
    return FaultTarget("tcp", number, record=record, stage=Stage.CONNECTION)


PING, ECHO, PRICE = b"a PING", b"a CALL echo hi", b"a CALL pirce sku-1"


@cases(
    ("kind", "given", "targets", "why"),
    [
        ("reset", {}, [], "selected 0 times; no request came after it was placed"),
        ("reset", {}, [connection(1)], "no request came after it was placed"),
        (
            "reset",
            {"service": "nosuchservice"},
            [call(ECHO)],
            "selected 0 times; nearest: echo 'hi' (tcp #1): service is 'echo', not 'nosuchservice'",
        ),
        (
            "reset",
            {"service": "price"},
            [call(ECHO), call(PRICE, 2), call(PING)],
            "nearest: pirce 'sku-1' (tcp #2): service is 'pirce', not 'price'",
        ),
        (
            "reset",
            {"service": "price"},
            [call(PING)],
            "nearest: PING (tcp #1): it calls no service; the fault is for 'price'",
        ),
        (
            "reset",
            {},
            [call(ECHO, 0)],
            "echo 'hi' (udp 127.0.0.1:4000): it came over UDP; fault 'reset' works over TCP only",
        ),
        (
            "truncate",
            {"transport": "udp", "service": "echo"},
            [call(ECHO)],
            "it came over TCP, not UDP",
        ),
        ("reset", {"request": 3}, [call(PING)], "request 3 never came: 1 request matched"),
        (
            "reset",
            {"request": [9, 4], "service": "echo"},
            [call(PING), call(ECHO), call(ECHO)],
            "(tcp #1): requests 4, 9 never came: 2 requests matched",
        ),
        (
            "reset",
            {"connection": 2},
            [connection(1), call(ECHO)],
            "connection 2 never came: 1 connection matched",
        ),
        (
            "reset",
            {"connection": 1},
            [connection(1), connection(2), call(ECHO, 2)],
            "nearest: echo 'hi' (tcp #2): it is connection 2, not 1",
        ),
        ("accept-close", {}, [call(ECHO)], "no connection was accepted after it was placed"),
        (
            "accept-close",
            {"connection": 3},
            [connection(1), call(ECHO)],
            "nearest: tcp #1: connection 3 never came: 1 connection matched",
        ),
        (
            "reset",
            {"match": "sku-12"},
            [call(ECHO), call(b"a CALL echo sku-1"), call(PING)],
            "nearest: echo 'sku-1' (tcp #1): 'a CALL echo sku-1' does not match 'sku-12'",
        ),
        (
            "reset",
            {"match": b"\xff"},
            [call(b"a CALL echo " + b"x" * 200)],
            f"'a CALL echo {'x' * 48}...' does not match hex:ff",
        ),
        (
            "reset",
            {"match": re.compile(r"^\d")},
            [call(PING)],
            r"nearest: PING (tcp #1): 'a PING' does not match re:'^\d'",
        ),
        (
            "reset",
            {"match": "CALL .* sku"},
            [call(b"a CALL echo sku-1")],
            "match 'CALL .* sku'; as a regular expression it would match: write re.compile(...)",
        ),
        (
            "reset",
            {"reply": 3},
            [call(PING), call(PING)],
            "nearest: PING (tcp #1): reply 3 never came: 2 replies matched",
        ),
        (
            "reset",
            {"reply": 0},
            [call(PING)],
            "reply 0 is the greeting, and no connection was accepted after it was placed",
        ),
        (
            "latency",
            {"seconds": 1, "age": 60},
            [call(PING)],
            "nearest: PING (tcp #1): the connection was 0.000 s old, not 60 s",
        ),
        (
            "reset",
            {"age": 60},
            [connection(1), call(PING)],
            "no connection was as old as that after it was placed",
        ),
        (
            "truncate",
            {"bytes": 1, "offset": 1},
            [call(ECHO, 0)],
            "it came over UDP, not TCP",
        ),
        (
            "reset",
            {},
            [call(ECHO)],
            "selected 1 time; nearest: echo 'hi' (tcp #1): no reply was sent that it could change",
        ),
    ],
)
def test_the_reason(kind: str, given: dict[str, Any], targets: list[FaultTarget], why: str) -> None:
    script = Script()
    fault = script.faults.place(Fault.create(kind, **given))
    for target in targets:
        struck(script.faults, target)
    (problem,) = find_problems(script)
    first, second = problem.splitlines()
    assert first == f"fault never struck: {fault}"
    assert second.startswith("    selected ")
    assert second.endswith(why)


def test_an_earlier_fault_struck_it() -> None:
    script = Script()
    earlier, later = (script.faults.place(Fault.create(kind)) for kind in ("close", "reset"))
    striking = struck(script.faults, call(ECHO))
    assert striking is earlier
    FaultPlan.of(earlier).line(b"a OK\n", final=True)
    (problem,) = find_problems(script)
    assert problem.splitlines() == [
        "fault never struck: reset",
        "    selected 1 time; nearest: echo 'hi' (tcp #1): an earlier fault struck it",
    ]
    assert later.selected == 1


def test_removed_before_any_request() -> None:
    script = Script()
    fault = script.faults.place(Fault.create("reset"))
    script.faults.remove(fault)
    struck(script.faults, call(ECHO))
    assert find_problems(script) == [
        "fault never struck: reset\n    selected 0 times; no request came before it was removed"
    ]


@pytest.mark.parametrize(
    ("kind", "given", "line"),
    [
        ("slice", {"at": 7}, b"a OK xy\n"),
        ("no-terminator", {}, b"a DATA x\n"),
        ("coalesce", {}, b"a OK\n"),
        ("latency", {"seconds": 1}, b"a OK\n"),
        ("bandwidth", {"bytes_per_second": 9}, b"a OK\n"),
        ("truncate", {"bytes": 99}, b"a OK\n"),
        ("garbage", {}, b"a OK\n"),
    ],
)
def test_a_reply_is_struck_once_however_many_lines_it_has(
    kind: str, given: dict[str, Any], line: bytes
) -> None:
    fault = Fault.create(kind, **given)
    plan = FaultPlan.of(fault)
    for _ in range(3):
        plan.line(line, final=False)
    plan.line(line, final=True)
    assert fault.happened == 1
    if FAULT_TYPES[fault.kind].allows_before:
        again = FaultPlan.of(fault)
        again.before()
        again.line(line, final=True)
        assert fault.happened == 2


@pytest.mark.parametrize(
    ("kind", "given", "reply", "size"),
    [
        ("slice", {"at": 9}, b"a OK xyz\n", 9),
        ("truncate", {"bytes": 9}, b"a OK xyz\n", 9),
        ("oversize", {"bytes": 9}, b"a OK xyz\n", 9),
    ],
)
def test_a_fault_that_changes_nothing_has_not_struck(
    kind: str, given: dict[str, Any], reply: bytes, size: int
) -> None:
    faults = FaultRegistry()
    fault = faults.place(Fault.create(kind, **given))
    assert struck(faults, call(ECHO, 1 if kind == "slice" else 0)) is fault
    if kind == "slice":
        FaultPlan.of(fault).line(reply, final=True)
    else:
        FaultPlan.of(fault).datagram(reply, pad_line)
    assert fault.happened == 0
    assert why_never_struck(fault, faults) == (
        f"selected 1 time; it changes nothing in the reply, which is {size} bytes long"
    )
    if kind == "slice":
        FaultPlan.of(fault).line(reply + b"x", final=True)
    else:
        FaultPlan.of(fault).datagram(reply + b"x" if kind == "truncate" else b"a OK\n", pad_line)
    assert fault.happened == 1


def test_a_reply_that_is_shorter_than_the_offset() -> None:
    """The longest one, with both numbers."""
    faults = FaultRegistry()
    fault = faults.place(Fault.create("reset", offset=10))
    for reply in (b"a OK\n", b"a OK x\n", b"a OK\n"):
        plan = faults.plan(call(ECHO))
        assert plan is not None
        plan.line(reply, final=True)
    assert why_never_struck(fault, faults) == (
        "selected 3 times; the reply is 7 bytes long, shorter than offset 10"
    )


def test_a_connection_on_which_less_was_sent_than_the_offset() -> None:
    faults = FaultRegistry()
    fault = faults.place(Fault.create("reset", unit="connection", offset=100))
    unit = ConnectionFaults(faults, lambda: connection(1))
    FaultPlan(unit.parts()).line(b"a OK\n", final=True)
    unit.finish()
    assert why_never_struck(fault, faults) == (
        "selected 1 time; what was sent on the connection is 5 bytes long, shorter than offset 100"
    )


def test_what_a_client_said_is_escaped() -> None:
    faults = FaultRegistry()
    fault = faults.place(Fault.create("reset", match="PUT"))
    faults.parts(FaultTarget("tcp", 1, request_data=b"GET \x1b[2J\xff"))
    assert why_never_struck(fault, faults) == (
        r"selected 0 times; 'GET \x1b[2J\xff' does not match 'PUT'"
    )


def test_a_reply_that_does_not_match() -> None:
    faults = FaultRegistry()
    fault = faults.place(Fault.create("reset", reply_match="DATA"))
    plan = faults.plan(call(ECHO))
    assert plan is not None
    plan.line(b"a OK hi\n", final=True)
    assert why_never_struck(fault, faults) == (
        "selected 1 time; nearest: echo 'hi' (tcp #1): its reply does not match 'DATA'"
    )


@pytest.mark.parametrize("given", [{"chance": 0.001}, {"chance": 1}, {"chance": 0.5, "seed": 3}])
def test_a_fault_by_chance_need_not_strike(given: dict[str, Any]) -> None:
    script = Script()
    fault = script.faults.place(Fault.create("reset", **given))
    assert find_problems(script) == []
    script.faults.remove(fault)
    assert find_problems(script) == []
    assert f"fault by chance, struck 0 times: {fault}" in problem_report(script, [])


def test_an_optional_fault_need_not_strike() -> None:
    script = Script()
    fault = script.faults.place(Fault.create("reset"))
    script.faults.remove(fault)
    fault.is_optional = True
    assert find_problems(script) == []


def test_times_is_an_upper_bound() -> None:
    script = Script()
    fault = script.faults.place(Fault.create("reset", times=3))
    struck(script.faults, call(ECHO))
    FaultPlan.of(fault).line(b"a OK\n", final=True)
    assert find_problems(script) == []


def test_a_strike_after_removal_counts() -> None:
    script = Script()
    fault = script.faults.place(Fault.create("reset"))
    striking = struck(script.faults, call(ECHO))
    script.faults.remove(fault)
    assert len(find_problems(script)) == 1
    assert striking is fault
    FaultPlan.of(fault).line(b"a OK\n", final=True)
    assert find_problems(script) == []


def test_clear_forgets_all_faults() -> None:
    script = Script()
    script.faults.remove(script.faults.place(Fault.create("reset")))
    script.faults.place(Fault.create("close"))
    script.faults.place(Fault.create("drop", chance=0.5, seed=3))
    script.clear()
    assert find_problems(script) == []
    assert "fault by chance" not in problem_report(script, [])


def test_the_last_removed_faults_are_kept() -> None:
    """A server with a control port may run for weeks."""
    script = Script()
    for number in range(1, 301):
        script.faults.remove(script.faults.place(Fault.create("reset", request=number)))
        struck = script.faults.place(Fault.create("close"))
        struck.record_strike()
        script.faults.remove(struck)
    assert [text.splitlines()[0] for text in find_problems(script)] == [
        f"fault never struck: reset request={number}" for number in range(201, 301)
    ]
