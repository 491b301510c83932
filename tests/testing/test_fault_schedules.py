"""Schedules of faults: drawn by Hypothesis, placed together, printed when a test fails."""

from __future__ import annotations

import re
import shlex
import sys
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from esps_portal.cli.fault_parameter import FaultParameter
from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_types import FAULT_TYPES
from esps_portal.faults.parameters import FaultError
from esps_portal.faults.place import Place
from esps_portal.mock.fault_lines import lines_that_place
from esps_portal.mock.scenario_reading import read_scenario_toml
from esps_portal.testing import PlannedFault, PortalController, strategies
from esps_portal.testing.fault_selectors import FaultName
from tests.sockets import connected

# A proxy without framing allows least; a stream and a datagram have each fault.
PROXY = Place(name="proxy")
# An example is not lost if the test runs in another order, and takes no time.
QUICK = settings(database=None, deadline=None, derandomize=True)
FIRST = settings(QUICK, phases=[Phase.generate])  # the first, and nothing simpler


def placeable(schedule: list[PlannedFault]) -> bool:
    for each in schedule:
        PROXY.check(Fault.create(each.kind, **each.options))
    return True


@given(strategies.faults())
def test_each_schedule_makes_sense_at_any_proxy(schedule: list[PlannedFault]) -> None:
    assert len(schedule) <= 3
    assert placeable(schedule)


@pytest.mark.parametrize("kind", FAULT_TYPES)
def test_every_fault_can_be_drawn(kind: FaultName) -> None:
    one = find(strategies.faults(kind), bool, settings=FIRST)
    assert [each.kind for each in one] == [kind]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_only_faults_of_a_transport(transport: Any) -> None:  # noqa: ANN401 - a literal
    @given(strategies.faults(transport=transport, max_size=1))
    def check(schedule: list[PlannedFault]) -> None:
        for each in schedule:
            assert Fault.create(each.kind, **each.options).transports == {transport}

    check()


@given(strategies.faults(requests=2, offsets=5))
def test_numbers_stay_within_their_bounds(schedule: list[PlannedFault]) -> None:
    for each in schedule:
        assert each.options.get("request", 1) in (1, 2)
        assert 0 <= each.options.get("offset", 0) <= 5


def test_numbers_by_a_strategy() -> None:
    drawn = strategies.faults("reset", requests=st.just(7), offsets=st.just(4))
    (fault,) = find(drawn, bool, settings=QUICK)
    assert fault.options == {"request": 7, "offset": 4}


def test_the_simplest_is_the_first_named_at_the_first_byte_of_the_first_request() -> None:
    (fault,) = find(strategies.faults("close", "reset"), bool, settings=QUICK)
    assert fault == PlannedFault("close", {"request": 1, "offset": 0})


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("rest",), {}, "unknown fault 'rest'; did you mean 'reset'"),
        (("rest",), {"transport": "udp"}, "unknown fault 'rest'; did you mean 'reset'"),
        (("reset",), {"transport": "udp"}, "fault 'reset' works over TCP only"),
        ((), {"transport": "sctp"}, "transport must be 'tcp' or 'udp', got 'sctp'"),
        ((), {"max_size": 0}, "max_size must be a positive integer, got 0"),
        ((), {"requests": 0}, "requests must be an integer of at least 1, got 0"),
        ((), {"offsets": -1}, "offsets must be an integer of at least 0, got -1"),
    ],
)
def test_wrong_arguments(arguments: Any, options: Any, message: str) -> None:  # noqa: ANN401
    with pytest.raises((FaultError, ValueError), match=re.escape(message)):
        strategies.faults(*arguments, **options)


def test_without_hypothesis_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "esps_portal.testing.strategies")
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ModuleNotFoundError, match=re.escape("esps-portal[hypothesis]")):
        import esps_portal.testing.strategies  # noqa: F401, PLC0415 - it is imported anew


# ---- lines that place them again ---------------------------------------------------------------

ROLES = ("portal", "proxy", "peer")
ODD = [
    PlannedFault("reset", {"match": "re:not a pattern", "offset": 2}),
    PlannedFault("latency", {"seconds": 0.5, "match": re.compile(r'a\s "b"')}),
    PlannedFault("patch", {"at": 0, "hex": "00ff", "reply_match": b"\x00\xff"}),
    PlannedFault("close", {"connection": [1, 3], "match": "it's"}, optional=True),
]


# What stands above the faults in a scenario.
SERVERS = {
    "": "",
    ", below its [[proxies]]": '[[proxies]]\nname = "a"\nupstream = "tcp://127.0.0.1:1"\n',
    ", below its [[peers]]": '[[peers]]\nname = "a"\nframing = "lines"\n',
}


def in_python(text: str) -> list[PlannedFault]:
    """Run the lines of Python."""
    placed: list[PlannedFault] = []

    class Proxy:
        def fault(self, kind: str, **options: object) -> None:
            placed.append(PlannedFault(kind, options))

    block = text.partition("in Python:\n")[2].partition("on the command line:")[0]
    for line in block.splitlines():
        exec(line.strip(), {name: Proxy() for name in ROLES} | {"re": re})  # noqa: S102 - a test of what is printed
    return placed


def on_the_command_line(text: str) -> list[PlannedFault]:
    """Take the words as a shell has them."""
    block = text.partition("on the command line:\n")[2].partition("in a scenario file")[0]
    words = shlex.split(block)
    assert words[::2] == ["--fault"] * (len(words) // 2)
    return [FaultParameter(of_proxy=True).convert(word, None, None) for word in words[1::2]]


def in_a_file(text: str) -> list[PlannedFault]:
    """Paste the lines where they say."""
    above, _, block = text.partition("in a scenario file")[2].partition(":")
    assert above in SERVERS
    scenario = read_scenario_toml(SERVERS[above] + block)
    faults = [*scenario.faults]
    faults += [fault for proxy in scenario.proxies for fault in proxy.faults]
    return faults + [fault for peer in scenario.peers for fault in peer.faults]


def fields(faults: list[PlannedFault]) -> list[dict[str, Any]]:
    """Return what each fault is once it is made."""
    made = [Fault.create(each.kind, **each.options) for each in faults]
    return [{"kind": each.kind, "parameters": each.parameters, "text": str(each)} for each in made]


@given(strategies.faults(), st.sampled_from(ROLES))
def test_the_lines_place_the_same_faults(schedule: list[PlannedFault], role: str) -> None:
    text = lines_that_place(schedule, role)
    for read in (in_python, on_the_command_line, in_a_file):
        assert fields(read(text)) == fields(schedule)


def test_the_lines_of_odd_values() -> None:
    text = lines_that_place(ODD, "proxy")
    for read in (in_python, on_the_command_line, in_a_file):
        assert fields(read(text)) == fields(ODD)
    assert in_a_file(text)[-1].optional
    assert on_the_command_line(text)[-1].optional


# ---- a block of faults -------------------------------------------------------------------------


def ping(portal: PortalController) -> bytes:
    with connected(portal) as client:
        client.send(b"a PING\nb QUIT\n")
        return client.rest()


def test_a_schedule_is_in_force_within_its_block(portal: PortalController) -> None:
    schedule = [PlannedFault("slice", {"request": 1}), PlannedFault("close", {"request": 1})]
    with portal.faults(schedule) as placed:
        assert ping(portal) == b""
        assert [fault.happened for fault in placed][1] == 1
    assert ping(portal) == b"a OK\nb OK\n"


def test_none_of_a_schedule_has_to_strike(portal: PortalController) -> None:
    with portal.faults([PlannedFault("reset", {"request": 9})]):
        ping(portal)
    portal.verify()


def test_all_faults_of_a_schedule_are_placed_or_none(portal: PortalController) -> None:
    schedule = [PlannedFault("close"), PlannedFault("close", {"to": "server"})]
    with pytest.raises(FaultError), portal.faults(schedule):
        pass
    assert ping(portal) == b"a OK\nb OK\n"


@pytest.mark.parametrize("schedule", [5, None, "reset", ["reset"], [{"fault": "reset"}]])
def test_what_is_no_schedule(portal: PortalController, schedule: Any) -> None:  # noqa: ANN401
    wanted = rf"a schedule is a list of PlannedFault\(\.\.\.\), got {re.escape(repr(schedule))}"
    with pytest.raises(TypeError, match=wanted), portal.faults(schedule):
        pass


def test_a_failure_says_how_to_place_them_again(portal: PortalController) -> None:
    schedule = [PlannedFault("close", {"request": 1, "offset": 2})]
    with pytest.raises(ValueError, match="broken") as failure, portal.faults(schedule):
        raise ValueError("broken")
    (note,) = failure.value.__notes__
    assert 'portal.fault("close", request=1, offset=2)' in note
    assert "--fault 'close request=1 offset=2'" in note
    assert '[[faults]]\n    fault = "close"' in note


def test_heal_ends_all_faults_and_outages(portal: PortalController) -> None:
    portal.fault("close").optional()
    outage = portal.down()
    with portal.faults([PlannedFault("reset")]):
        portal.heal()
        assert outage.is_over
        assert ping(portal) == b"a OK\nb OK\n"
    outage.up()
    portal.heal()
    assert ping(portal) == b"a OK\nb OK\n"


def test_a_healed_fault_is_judged(portal: PortalController) -> None:
    portal.fault("reset")
    portal.heal()
    (problem,) = portal.problems()
    assert "never struck" in problem


# ---- shown on a client with a planted bug ------------------------------------------------------

CLIENT = '''
import contextlib
import socket
import threading

import pytest
from hypothesis import given, settings

from esps_portal.testing import proxy_in_thread, strategies

class Hung(AssertionError):
    pass

def exactly(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionError("cut")
        data += more
    return data

def fetch(host, port):
    """Read a frame; its length is in its first two bytes."""
    with socket.create_connection((host, port), 30) as connection:
        connection.sendall(b"?")
        size = int.from_bytes(exactly(connection, 2), "big")
        body, waited = b"", 0
        while len(body) < size:
            more = connection.recv(size - len(body))
            if not more and body:
                raise ConnectionError("cut")
            waited += not more  # the bug: between length and body an end is not an end
            if waited > 100:
                raise Hung("it would wait for ever")
            body += more
        return body

def answer(server):
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, contextlib.suppress(ConnectionError):
            while connection.recv(1):
                connection.sendall(b"\\x00\\x05hello")

@pytest.fixture(scope="module")
def proxy():
    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=answer, args=(server,), daemon=True)
        serving.start()
        with proxy_in_thread(f"tcp://127.0.0.1:{server.getsockname()[1]}") as proxy:
            yield proxy
        server.shutdown(socket.SHUT_RDWR)
        serving.join(30)

@settings(database=None, deadline=None, derandomize=True)
@given(schedule=strategies.faults("close", "reset", "truncate", requests=2, offsets=8))
def test_fetch_survives(proxy, schedule):
    proxy.reset()
    with proxy.faults(schedule):
        for _ in range(2):
            try:
                assert fetch(proxy.host, proxy.port) == b"hello"
            except ConnectionError:
                pass
        proxy.heal()
        assert fetch(proxy.host, proxy.port) == b"hello"
'''


@pytest.mark.heavy
def test_it_finds_a_planted_bug_and_shrinks_to_one_fault(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(CLIENT)
    result = pytester.runpytest_subprocess("-pno:randomly", "-pno:xdist", timeout=100)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*Hung: it would wait for ever",
            "*The faults in force, as they can be placed again",
            "*in Python:",
            '*proxy.fault("close", request=1, offset=2)',
            "*on the command line:",
            "*--fault 'close request=1 offset=2'",
            "*in a scenario file, below its [[][[]proxies]]:",
            "*[[][[]proxies.faults]]",
            '*fault = "close"',
            "*request = 1",
            "*offset = 2",
            "*schedule=[[]PlannedFault('close', {*",
        ]
    )
