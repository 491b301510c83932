"""When a UDP client sends a request again, and how long it makes it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.protocol.client_connection import ClientConnection
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import ERR, OK, Reply, Request
from esps_portal.protocol.pending_request import PendingRequest
from esps_portal.protocol.retransmission import Retransmission, padded_length

schedules = st.builds(
    Retransmission,
    ack_timeout=st.floats(0.01, 10),
    ack_random_factor=st.floats(1, 3),
    max_retransmit=st.integers(0, 8),
)


@given(schedules, st.floats(0, 1))
def test_waits_begin_in_bounds_and_double(schedule: Retransmission, chance: float) -> None:
    # ESPS-UDP-34, ESPS-UDP-35
    waits = list(schedule.waits(chance))
    minimum, factor = schedule.ack_timeout, schedule.ack_random_factor
    assert len(waits) == schedule.max_retransmit + 1
    assert minimum <= waits[0] <= minimum * factor * (1 + 1e-9)
    assert all(later == 2 * earlier for earlier, later in pairwise(waits))
    assert sum(waits) <= schedule.longest * (1 + 1e-9)


@given(schedules)
def test_the_longest_wait_is_as_derived(schedule: Retransmission) -> None:
    most = schedule.ack_timeout * schedule.ack_random_factor
    assert schedule.longest == pytest.approx(most * (2 ** (schedule.max_retransmit + 1) - 1))


@pytest.mark.parametrize(
    ("schedule", "shortest", "longest"),
    [
        (Retransmission(), [1, 2, 4, 8, 16], 46.5),
        (Retransmission.for_host("192.0.2.1"), [1, 2, 4, 8, 16], 46.5),
        (Retransmission.for_host("2001:db8::1"), [1, 2, 4, 8, 16], 46.5),
        (Retransmission.for_host("127.0.0.1"), [0.05, 0.1, 0.2, 0.4, 0.8], 2.325),
        (Retransmission.for_host("127.9.9.9"), [0.05, 0.1, 0.2, 0.4, 0.8], 2.325),
        (Retransmission.for_host("::1"), [0.05, 0.1, 0.2, 0.4, 0.8], 2.325),
    ],
)
def test_the_times_of_the_specification(
    schedule: Retransmission, shortest: list[float], longest: float
) -> None:
    # ESPS-UDP-36
    assert list(schedule.waits(0.0)) == pytest.approx(shortest)
    assert schedule.longest == pytest.approx(longest)


def test_a_portal_remembers_for_longer_than_a_client_asks() -> None:
    # ESPS-UDP-37
    assert Limits().window >= Retransmission().longest


def padded_after(reply: Reply | None) -> int | None:
    """Return the length to pad to after ``reply`` to a request of 14 bytes."""
    request = Request(b"1", b"CALL", (b"random",))
    pending = PendingRequest(request.tag, request.encode())
    pending.final = reply
    return padded_length(pending, len(pending.line), 4)


@pytest.mark.parametrize(
    ("needed", "length"),
    [
        (b"15", 15),
        (b"400", 400),
        (b"000000400", 400),
        (b"8192", 8192),
        # ESPS-LINE-19: no line is longer than a portal is known to take
        (b"8193", None),
        (b"9" * 5000, None),
        # No padding helps, or none is needed: such a reply is not believed.
        (b"0", None),
        (b"14", None),
        (b"-5", None),
        (b"lots", None),
        (b"", None),
        ("٤١".encode(), None),
    ],
)
def test_a_request_is_made_as_long_as_it_has_to_be(needed: bytes, length: int | None) -> None:
    # ESPS-UDP-18
    assert padded_after(Reply(b"1", ERR, (b"too-large", needed, b"text"))) == length


def test_padding_never_makes_a_line_too_long() -> None:
    # ESPS-LINE-19, ESPS-UDP-18: there is room for one byte more, and padding takes two
    request = Request(b"1", b"PING", (b"x" * 8183,))
    pending = PendingRequest(request.tag, request.encode())
    pending.final = Reply(b"1", ERR, (b"too-large", b"8192"))
    assert len(pending.line) == 8191
    assert padded_length(pending, len(pending.line), 4) is None
    request = Request(b"1", b"PING", (b"x" * 8182,))
    pending = PendingRequest(request.tag, request.encode(), final=pending.final)
    assert padded_length(pending, len(pending.line), 4) == 8192


@pytest.mark.parametrize("most", [0, 1, 4, 9])
def test_a_peer_that_always_asks_for_more_gets_no_more(most: int) -> None:
    # ESPS-UDP-38
    client = ClientConnection(lambda: b"1")
    pending = client.ask("CALL", ("random",))
    sent = 0
    for needed in range(100, 110):
        pending.final = Reply(b"1", ERR, (b"too-large", b"%d" % needed))
        if padded_length(pending, needed - 1, most) is None:
            break
        client.resume(pending)
        sent += 1
    assert sent == most
    pending = client.ask("CALL", ("random",))
    pending.final = Reply(b"1", ERR, (b"too-large", b"100"))
    assert padded_length(pending, 99, 4) == 100
    assert padded_length(pending, 100, 4) is None


def test_the_lines_of_a_reply_that_is_too_large_are_dropped() -> None:
    client = ClientConnection(lambda: b"1")
    pending = client.ask("CALL", ("random",))
    client.receive_datagram_untrusted(b"1 DATA early\n1 ERR too-large 100\n")
    client.resume(pending)
    client.receive_datagram_untrusted(b"1 DATA late\n1 OK\n")
    assert list(pending.rows) == [(b"late",)]


@pytest.mark.parametrize(
    "reply",
    [
        None,
        Reply(b"1", OK, (b"too-large", b"41")),
        Reply(b"1", ERR, (b"busy", b"41")),
        Reply(b"1", ERR, (b"too-large",)),
    ],
)
def test_other_answers_ask_for_no_padding(reply: Reply | None) -> None:
    assert padded_after(reply) is None
