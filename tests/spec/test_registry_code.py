"""The code has the tables of `registry.toml` and of the specification."""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from esps_portal.protocol.limits import Limits
from esps_portal.protocol.registry import ERRORS, PORT, VERBS, VERSION
from esps_portal.protocol.retransmission import Retransmission
from esps_portal.protocol.states import CALL_TRANSITIONS, CONNECTION_TRANSITIONS, CallState, State
from esps_portal.protocol.urls import PortalURL
from esps_portal.server.endings import ENDINGS, EndReason, How
from esps_portal.services.builtin_portal import builtin_portal
from esps_portal.services.service import Service
from tests.spec.documents import TEXT
from tests.spec.test_registry_tables import REGISTRY, table_in_text, transitions_in_table

SERVICES = {service.name: service for service in builtin_portal("test/1").services}
DEFAULTS = {limit["name"]: limit["default"] for limit in REGISTRY["limit"]}
# The limits of clients; all others are a server's.
CLIENT_LIMITS = ["ack-timeout", "ack-timeout-loopback", "ack-random-factor", "max-retransmit"]


def bounds(usage: str) -> tuple[int, float]:
    """Return how many arguments a usage allows: ``[x]`` is optional, ``...`` repeats."""
    names = usage.split()
    minimum = sum(not name.startswith("[") for name in names)
    return minimum, math.inf if "..." in usage else len(names)


def test_version_and_port() -> None:
    assert VERSION.decode() == REGISTRY["version"]
    assert f"| `esps-portal` | {PORT} | tcp, udp |" in TEXT
    assert {PortalURL.parse(f"{scheme}://h").port for scheme in ("esps", "esps+udp")} == {PORT}


def test_verbs() -> None:
    found = {
        verb.name.decode(): (
            ["tcp", "udp"] if verb.udp else ["tcp"],
            (verb.min_args, math.inf if verb.max_args is None else verb.max_args),
        )
        for verb in VERBS.values()
    }
    assert list(found.items()) == [
        (verb["name"], (verb["transports"], bounds(verb["arguments"]))) for verb in REGISTRY["verb"]
    ]


def test_errors() -> None:
    found = [
        (code, error.name, error.fault, error.executed, error.retry, error.ends)
        for code, error in ERRORS.items()
    ]
    columns = ("name", "name", "fault", "executed", "retry", "ends")
    assert found == [tuple(entry[column] for column in columns) for entry in REGISTRY["error"]]


def test_machine_arguments() -> None:  # ESPS-ERR-2
    found = {error.name: error.machine_arguments for error in ERRORS.values()}
    assert found == {entry["name"]: len(entry["machine_arguments"]) for entry in REGISTRY["error"]}


def test_the_table_of_ends() -> None:
    """A connection ends for each reason as the specification says."""
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table_in_text("ends").splitlines()[2:]
    ]
    found = {
        reason.partition(":")[0]: (drains == "yes", close) for reason, drains, _, close in rows
    }
    closes = {How.FIN: "FIN", How.RST: "RST", How.RST_AT_ONCE: "RST", How.GONE: "-"}
    assert found == {
        name: (ending.drains, closes[ending.how])
        for name in found
        for ending in [ENDINGS[EndReason[name.upper()]]]
    }
    of_faults = {EndReason.STALL, EndReason.DEAF, EndReason.HALF_CLOSE}
    assert {EndReason[name.upper()] for name in found} == {*EndReason} - of_faults


def test_a_server_holds_the_default_limits() -> None:  # ESPS-LIM-1
    limits = Limits()
    names = [name for name in DEFAULTS if name not in CLIENT_LIMITS]
    assert {name: getattr(limits, name.replace("-", "_")) for name in names} == {
        name: DEFAULTS[name] for name in names
    }
    assert len(names) == len(attrs.fields(Limits))
    assert builtin_portal("test/1").limits == limits


def test_hello_announces_the_limits_that_are_marked() -> None:  # ESPS-VERB-1, ESPS-LIM-2
    marked = [limit["name"] for limit in REGISTRY["limit"] if limit["hello"]]
    assert [arg.decode() for arg in Limits().announced()] == [
        f"{name}={DEFAULTS[name]}" for name in marked
    ]
    other = Limits(max_line=512, max_in_flight=3, max_datagram=99, idle=0.5, window=1_000_000)
    assert [arg.decode() for arg in other.announced()] == [
        "max-line=512",
        "max-in-flight=3",
        "max-datagram=99",
        "idle=0.5",
        "window=1000000",
    ]


def test_a_client_has_the_default_times() -> None:  # ESPS-UDP-36
    far, near = Retransmission.for_host("192.0.2.1"), Retransmission.for_host("127.0.0.1")
    assert Retransmission() == far == Retransmission.for_host("2001:db8::1")
    assert near == Retransmission.for_host("::1") == Retransmission.for_host("127.9.9.9")
    assert [far.ack_timeout, near.ack_timeout, far.ack_random_factor, far.max_retransmit] == [
        DEFAULTS[name] for name in CLIENT_LIMITS
    ]
    assert (near.ack_random_factor, near.max_retransmit) == (1.5, 4)


@pytest.mark.parametrize("chance", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("host", ["192.0.2.1", "127.0.0.1"])
def test_timeouts_double(host: str, chance: float) -> None:  # ESPS-UDP-34, ESPS-UDP-35
    schedule = Retransmission.for_host(host)
    first, *others = schedule.waits(chance)
    assert first == schedule.ack_timeout * (1 + chance / 2)
    assert others == [first * 2**n for n in range(1, schedule.max_retransmit + 1)]


def test_the_window_outlives_retransmission() -> None:  # ESPS-UDP-37
    assert Limits().window >= Retransmission().longest
    assert f"{Retransmission().longest:g} s" in TEXT


def test_builtin_services() -> None:
    found = [
        {
            "name": service.name,
            "usage": service.usage,
            "summary": service.summary,
            "flags": service.flags,
            "transports": sorted(service.transports),
            "idempotent": service.idempotent,
        }
        for service in SERVICES.values()
    ]
    assert found == REGISTRY["service"]


@pytest.mark.parametrize("entry", REGISTRY["service"], ids=lambda entry: entry["name"])
def test_a_usage_says_how_many_arguments_are_taken(entry: dict[str, Any]) -> None:
    service = SERVICES[entry["name"]]
    maximum = math.inf if service.max_args == sys.maxsize else service.max_args
    assert (service.min_args, maximum) == bounds(entry["usage"])


def test_flags() -> None:  # ESPS-VERB-10
    async def async_service() -> None:
        """Do nothing."""

    def sync_service() -> None:
        """Do nothing."""

    functions: tuple[Callable[[], Any], ...] = (async_service, sync_service)
    transports = (("tcp",), ("udp",), ("tcp", "udp"))
    found = {
        Service.declare(function, idempotent=idempotent, transports=offered).flags
        for function, idempotent, offered in itertools.product(functions, (False, True), transports)
    }
    letters = [flag["letter"] for flag in REGISTRY["flag"]]
    assert letters == sorted(letters)
    assert found == {
        "".join(chosen) or "-" for n in range(4) for chosen in itertools.combinations(letters, n)
    }


def test_transitions_of_a_connection() -> None:
    rows = [(a.name, signal.value, b.name) for (a, signal), b in CONNECTION_TRANSITIONS.items()]
    assert rows == transitions_in_table("connection")
    assert {state.name for state in State} == {name for a, _, b in rows for name in (a, b)}


def test_transitions_of_a_call() -> None:
    rows = [(a.name, signal, b.name) for (a, signal), b in CALL_TRANSITIONS.items()]
    assert rows == transitions_in_table("call")
    assert {state.name for state in CallState} == {name for a, _, b in rows for name in (a, b)}


def test_the_states_are_those_of_the_text() -> None:
    paragraph = re.search(r"in one of four states\.(.*?)\n\n", TEXT, re.DOTALL)
    assert paragraph is not None
    assert re.findall(r"\b([A-Z]{4,}):", paragraph[1]) == [state.name for state in State]
