"""Calls over UDP are remembered: none is executed twice, and memory is bounded."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.protocol.datagram_server import (
    DatagramServer,
    Ignored,
    Repeat,
)
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import DATA, ERR, OK, Reply, Request, padded
from esps_portal.protocol.remembered_calls import RememberedCall

WINDOW = 60.0
# One address and port may hold 4 answers and 2 running calls.
LIMITS = Limits(max_remembered=64, max_in_flight=32, window=WINDOW, max_datagram=200)
HERE, THERE = ("192.0.2.1", 40000), ("192.0.2.1", 40001)
LINE = b"1 CALL count #########\n"
OTHER = b"1 CALL count a #######\n"


class Server:
    """A `DatagramServer`, and services that do what the test says."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.protocol = DatagramServer(limits)
        self.executed: list[Request] = []
        self.repeats = 0

    def begin(
        self,
        line: bytes = LINE,
        source: tuple[str, int] = HERE,
        now: float = 0.0,
        *,
        keep_reply: bool = True,
        is_async: bool = True,
    ) -> RememberedCall | bytes | Ignored | None:
        """Receive a call: it begins, or is answered without being executed, or ignored."""
        request = self.protocol.receive_untrusted(line, source, now)
        if isinstance(request, Repeat):
            self.repeats += 1
            return request.datagram
        if not isinstance(request, Request):
            return request
        call = self.protocol.begin(
            request, source, len(line), keep_reply=keep_reply, is_async=is_async
        )
        if call is None:
            return b"busy"
        self.executed.append(request)
        return call

    def call(
        self, line: bytes = LINE, source: tuple[str, int] = HERE, now: float = 0.0
    ) -> bytes | Ignored | None:
        """Execute a sync call that is not idempotent, or answer it from memory."""
        call = self.begin(line, source, now, is_async=False)
        if not isinstance(call, RememberedCall):
            return call
        number = b"%d" % len(self.executed)
        return self.protocol.finish(call, [Reply(call.request.tag, OK, (number,))], now)

    def running(self, line: bytes = LINE, *, keep_reply: bool = True) -> RememberedCall:
        """Return a call that has begun, at time 0."""
        call = self.begin(line, keep_reply=keep_reply)
        assert isinstance(call, RememberedCall)
        return call


# -- repeats


@pytest.mark.parametrize("repeat", [LINE, b"1 CALL count\n", b"1 CALL c%6funt #\r\n"])
def test_the_same_request_is_answered_from_memory(repeat: bytes) -> None:
    # ESPS-UDP-21, ESPS-UDP-23, ESPS-ARG-10: padding apart, compared decoded
    server = Server()
    assert server.call() == b"1 OK 1\n"
    assert server.call(repeat, now=1.0) == b"1 OK 1\n"
    assert len(server.executed) == 1


def test_a_closing_server_still_repeats() -> None:
    server = Server()
    server.call()
    server.protocol.closing = True
    assert server.call() == b"1 OK 1\n"


@pytest.mark.parametrize("keep_reply", [False, True])
def test_a_repeat_is_silent_while_the_call_runs(*, keep_reply: bool) -> None:
    # ESPS-UDP-20, ESPS-UDP-24
    server = Server()
    call = server.running(keep_reply=keep_reply)
    assert server.begin(now=1000.0) is None
    assert len(server.executed) == 1
    assert server.protocol.finish(call, [Reply(b"1", OK)], 1000.0) == b"1 OK\n"


def test_the_reply_of_a_running_call_is_kept_from_its_end() -> None:
    server = Server()
    call = server.running()
    server.protocol.finish(call, [Reply(b"1", DATA, (b"a",)), Reply(b"1", OK)], 100.0)
    assert server.begin(now=100.0 + WINDOW - 1) == b"1 DATA a\n1 OK\n"


def test_calls_of_idempotent_services_just_run_again() -> None:
    server = Server()
    for _ in range(9):  # more than this source may hold
        call = server.running(keep_reply=False)
        assert server.protocol.running == 1
        server.protocol.finish(call, [Reply(b"1", OK)], 0.0)
        assert server.protocol.remembered == 0


@pytest.mark.parametrize(
    "line", [OTHER, b"1 PING " + b"#" * 9 + b"\n", b"1 nonsense\n", b"1  nonsense\n", b"1 QUIT\n"]
)
@pytest.mark.parametrize("is_async", [False, True])
def test_another_request_under_that_tag_is_refused(line: bytes, *, is_async: bool) -> None:
    # ESPS-UDP-25, ESPS-CHK-3
    server = Server()
    if is_async:
        server.running()
    else:
        server.call()
    assert server.begin(line, now=1.0) == b"* ERR tag-in-use 1\n"
    assert len(server.executed) == 1


def test_a_refusal_that_does_not_fit_becomes_silence_and_nothing_else() -> None:
    # ESPS-UDP-16, ESPS-UDP-17: six bytes make room for 18, and `* ERR tag-in-use 1` has 19
    server = Server()
    server.call()
    for line in (b"1 XYZ\n", b"1 X\n", b"1"):
        assert server.begin(line) is None


def test_the_key_is_source_and_tag() -> None:
    # ESPS-UDP-20
    server = Server()
    assert server.call() == b"1 OK 1\n"
    assert server.call(source=THERE) == b"1 OK 2\n"
    assert server.call(LINE.replace(b"1", b"2")) == b"2 OK 3\n"


# -- the window


def test_a_reply_is_forgotten_after_the_window() -> None:
    server = Server()
    server.call(now=5.0)
    assert server.call(now=5.0 + WINDOW) == b"1 OK 2\n"
    assert server.protocol.remembered == 1


def test_the_window_starts_anew_at_each_repeat() -> None:
    # ESPS-UDP-22
    server = Server()
    server.call()
    server.call(b"2 CALL count ####\n", now=1.0)
    for repeat in range(1, 4):
        assert server.call(now=repeat * (WINDOW - 1)) == b"1 OK 1\n"
    assert server.protocol.remembered == 1  # the other one was not repeated


def test_the_last_window_ends_with_the_fourth() -> None:
    # ESPS-UDP-22, ESPS-UDP-42
    server = Server()
    server.call()
    for windows in (0.9, 1.8, 2.7, 3.5):
        assert server.call(now=windows * WINDOW) == b"1 OK 1\n"
    # A younger one that expires later stands in no one's way.
    server.call(b"2 CALL count ####\n", now=3.6 * WINDOW)
    assert server.call(now=3.7 * WINDOW) == b"1 OK 1\n"
    assert server.protocol.remembered == 2
    assert server.call(now=4 * WINDOW) == b"1 OK 3\n"
    assert server.call(b"2 CALL count ####\n", now=4.5 * WINDOW) == b"2 OK 2\n"


def test_repeats_keep_a_reply_for_four_windows_at_most() -> None:
    # ESPS-UDP-42
    server = Server()
    server.call()
    server.call(b"2 CALL count ####\n", now=1.0)
    for second in range(2, int(4 * WINDOW)):
        assert server.call(now=float(second)) == b"1 OK 1\n"
    assert server.protocol.remembered == 1  # the other one was not repeated
    assert server.call(now=4 * WINDOW) == b"1 OK 3\n"


@pytest.mark.parametrize(
    "code", [b"bad-arguments", b"busy", b"unmatched", b"failed", b"x-mine", b"closing"]
)
def test_an_error_of_a_service_is_its_answer(code: bytes) -> None:
    # ESPS-UDP-21, ESPS-UDP-26
    server = Server()
    line = b"1 CALL count ".ljust(40, b"#") + b"\n"
    error = Reply(b"1", ERR, (code, b"text"))
    server.protocol.finish(server.running(line), [error], 0.0)
    assert server.begin(line, now=1.0) == error.encode()
    assert len(server.executed) == 1


def test_errors_before_execution_are_not_remembered() -> None:
    # ESPS-UDP-26
    server = Server()
    assert server.begin(b"1 nonsense ###########\n") == b"1 ERR unknown-verb\n"
    for number in range(2, 6):
        server.call(b"%d CALL count ####\n" % number)
    assert server.call(b"1 CALL count ####\n") == b"busy"
    assert server.protocol.remembered == 4


def test_all_answers_can_be_forgotten_and_no_running_call() -> None:
    server = Server()
    server.call()
    server.running(b"2 CALL a\n")
    server.protocol.forget_all()
    assert server.protocol.remembered == 1
    assert server.call() == b"1 OK 3\n"
    assert server.begin(b"2 CALL a\n") is None


def test_what_is_forgotten_leaves_room_and_is_not_forgotten_twice() -> None:
    # ESPS-UDP-28
    server = Server()
    lines = [b"%d CALL count ####\n" % n for n in range(4)]
    first = [server.call(line) for line in lines]
    server.protocol.forget_all()
    second = [server.call(line, now=1.0) for line in lines]
    assert [*first, *second] == [b"%d OK %d\n" % (n % 4, n + 1) for n in range(8)]
    # When the first would have expired, the second are still remembered.
    assert [server.call(line, now=WINDOW) for line in lines] == second


def test_repeats_are_counted() -> None:
    server = Server()
    server.running(b"2 CALL a\n")
    server.call()
    for line in (LINE, LINE, b"2 CALL a\n", OTHER, b"3 CALL a\n"):
        server.begin(line)
    assert server.repeats == 3


# -- the size of a repeat


def test_the_bounds_apply_to_each_datagram_afresh() -> None:
    # ESPS-UDP-19
    server, reply = Server(), Reply(b"1", OK, (b"x" * 94,))
    call = server.running(b"1 CALL count\n")
    answer = server.protocol.finish(call, [reply], 0.0)
    assert answer == b"1 ERR too-large 34\n"
    assert server.begin(padded(call.request.encode(), 33), now=1.0) == answer.replace(
        b"\n", b" pad%20the%20request%20to%20that\n"
    )
    assert server.begin(padded(call.request.encode(), 34), now=1.0) == reply.encode()
    assert len(server.executed) == 1


def test_what_can_never_be_sent_is_not_kept() -> None:
    # ESPS-UDP-15: what is remembered is that there is no reply of a length to send
    server = Server()
    call = server.running()
    server.protocol.finish(call, [Reply(b"1", OK, (b"x" * 9000,))], 0.0)
    assert call.reply is not None
    assert call.reply.lines == b""
    assert server.begin(now=1.0) == b"1 ERR too-large 0 use-tcp\n"


# -- full, and the shares of a source


def source(host: int, port: int = 40000) -> tuple[str, int]:
    return (f"192.0.2.{host}", port)


def test_a_full_memory_refuses_and_drops_nothing() -> None:
    # ESPS-UDP-28
    server = Server()
    lines = [b"%d CALL count ####\n" % n for n in range(5)]
    assert [server.call(line) for line in lines][4] == b"busy"
    assert server.protocol.remembered == 4
    assert [server.call(line, now=1.0) for line in lines[:4]] == [
        b"%d OK %d\n" % (n, n + 1) for n in range(4)
    ]
    assert server.call(lines[4], now=1.0 + WINDOW) == b"4 OK 5\n"


def test_no_source_fills_the_memory() -> None:
    # ESPS-UDP-27, ESPS-UDP-43: 64 entries, of which an address has 32, and one of its ports 4
    server = Server(attrs.evolve(LIMITS, max_remembered=64))

    def held_by(host: int, ports: int) -> int:
        before = len(server.executed)
        for port in range(40000, 40000 + ports):
            for tag in range(9):
                server.call(b"%d CALL count #\n" % tag, source(host, port))
        return len(server.executed) - before

    assert held_by(1, ports=1) == 4
    assert held_by(1, ports=20) == 28
    assert held_by(2, ports=1) == 4  # others go on
    assert held_by(2, ports=20) == 28
    assert held_by(3, ports=1) == 0  # it is full
    server.call(b"x CALL count\n", source(4), now=WINDOW)
    assert server.protocol.remembered == 1
    assert held_by(3, ports=1) == 4


def test_no_source_takes_all_running_calls() -> None:
    # ESPS-UDP-29, ESPS-UDP-43: 32 run, of which an address has 16, and one of its ports 2
    server = Server()
    calls = []
    for host in (1, 2, 3):
        for port in range(40000, 40020):
            for tag in range(3):
                call = server.begin(b"%d CALL a\n" % tag, source(host, port), keep_reply=False)
                calls += [call] if isinstance(call, RememberedCall) else []
    hosts = [call.key[0] for call in calls]
    assert [sum(host == each[0] for each in hosts) for host, _ in map(source, (1, 2, 3))] == [
        16,
        16,
        0,
    ]
    assert max(hosts.count(each) for each in hosts) == 2
    for call in calls:
        server.protocol.finish(call, [Reply(b"1", OK)], 0.0)
    assert isinstance(server.begin(b"1 CALL a\n", source(3)), RememberedCall)


@pytest.mark.parametrize("limit", [1, 2, 15, 16, 17])
def test_a_source_may_hold_one_at_least(limit: int) -> None:
    # ESPS-UDP-43
    server = Server(attrs.evolve(LIMITS, max_remembered=limit, max_in_flight=limit))
    assert isinstance(server.begin(b"1 CALL a\n"), RememberedCall)
    assert server.begin(b"2 CALL a\n") == b"busy"


def test_a_sync_call_needs_no_room_among_those_that_run() -> None:
    server = Server()
    first = server.running(b"1 CALL a\n")
    server.running(b"2 CALL a\n", keep_reply=False)
    assert server.begin(b"3 CALL a\n") == b"busy"
    assert isinstance(server.begin(b"4 CALL a\n", is_async=False), RememberedCall)
    server.protocol.finish(first, [Reply(b"1", ERR, (b"busy",))], 0.0)
    assert server.protocol.running == 2


# -- whatever comes, in whatever order

steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, WINDOW / 2, WINDOW - 1, WINDOW]),
        st.sampled_from([HERE, THERE]),
        st.sampled_from([LINE, OTHER, LINE.replace(b"1", b"2"), LINE.replace(b"1", b"3")]),
    ),
    max_size=30,
)


@given(steps)
def test_within_the_window_a_key_has_one_execution(
    whatever: list[tuple[float, tuple[str, int], bytes]],
) -> None:
    # ESPS-UDP-21, ESPS-UDP-22, ESPS-UDP-23, ESPS-UDP-25
    # A source may hold two.
    server, now = Server(attrs.evolve(LIMITS, max_remembered=32)), 0.0
    known: dict[tuple[object, bytes], tuple[bytes, bytes | Ignored | None, float]] = {}
    last: dict[tuple[object, bytes], float] = {}
    for later, source, line in whatever:
        now += later
        known = {key: value for key, value in known.items() if value[2] > now}
        key, before = (source, line[:1]), len(server.executed)
        answer = server.call(line, source, now)
        assert server.protocol.remembered <= LIMITS.max_remembered
        if key not in known:
            full = sum(held == source for held, _ in known) == 2
            last[key] = now + 4 * WINDOW
            assert len(server.executed) == before + (not full)
            assert (answer == b"busy") is full
        elif known[key][0] == line:
            assert (answer, len(server.executed)) == (known[key][1], before)
        else:
            assert answer == b"* ERR tag-in-use " + line[:1] + b"\n"
            assert len(server.executed) == before
            continue
        if answer is not None and answer != b"busy":
            known[key] = (line, answer, min(now + WINDOW, last[key]))


def test_a_call_that_has_sent_data_counts_as_executed() -> None:  # ESPS-UDP-26
    server = Server()
    replies = [Reply(b"1", DATA, (b"sold",)), Reply(b"1", ERR, (b"busy",))]
    server.protocol.finish(server.running(), replies, 0.0)
    assert server.protocol.remembered == 1
