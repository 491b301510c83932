"""Which datagrams are answered, and how long an answer may be."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esps_portal.protocol.datagram_server import DatagramServer, Ignored, Repeat
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import DATA, ERR, OK, Notice, Reply, Request, looks_like_answer
from esps_portal.protocol.received_lines import PlainRequest, plain_to_request
from tests.cases import cases
from tests.protocol.strategies import args, errors, noise, tags

SOURCE = ("192.0.2.1", 40000)
LIMITS = Limits(max_line=512, max_datagram=200)


def receive(datagram: bytes, limits: Limits = LIMITS) -> Request | bytes | None:
    """Pass a datagram to a server that remembers nothing."""
    answer = DatagramServer(limits).receive_untrusted(datagram, SOURCE, 0.0)
    assert not isinstance(answer, Repeat | Ignored)
    return answer


def code(answer: object) -> bytes:
    """Return the tag and the code of an error."""
    assert isinstance(answer, bytes)
    tag, err, name = answer.split()[:3]
    assert err == ERR
    return tag + b" " + name


# -- what is answered


@pytest.mark.parametrize("verb", [b"HELLO", b"PING", b"LIST", b"CALL"])
def test_verbs_that_are_offered(verb: bytes) -> None:
    # ESPS-UDP-8
    assert receive(b"1 " + verb + b" a%20b ###\r\n") == Request(b"1", verb, (b"a b",))


@cases(
    "datagram",
    [
        *(b"", b"\n", b"\r\n", b"\n\n"),  # ESPS-UDP-5
        *(b"@ PING\n", b" 1 PING\n", b"\xff\n", b"t" * 33 + b"\n"),  # ESPS-UDP-4
        *(b"abcdefgh\r", b"abcdefgh\rb PING\n", b"\rabcdefgh\n"),  # ESPS-UDP-48, no tag
        *(b"*", b"* BYE idle\n", b"*x", b"* 1 PING", b"*" * 600),  # ESPS-UDP-6
        *(b"1 OK\n", b"1 OK", b"1 DATA x\r\n", b"1 ERR busy\n", b"1 ERR  \n"),  # ESPS-UDP-7
        *(b"1 OK" + b" x" * 300, b"1 OK\n2 PING\n", b"1\n2 OK\n", b"1\r\n2 ERR x\n"),
    ],
)
def test_silence(datagram: bytes) -> None:
    assert receive(datagram) is None


# -- in bulk

datagrams = (
    st.builds(
        lambda tag, rest: tag + b" " + rest,
        st.sampled_from([b"1", b"2", b"3"]),
        st.sampled_from([b"PING\n", b"CALL a b\n", b"PING %41\n", b"LIST\n", b"PING\r\n"]),
    )
    | noise
    | st.sampled_from([b"1 PING " + b"x" * 191 + b"\n", b"1 PING " + b"x" * 192 + b"\n", b""])
)


def new_requests(
    server: DatagramServer, datagrams: list[bytes], source: tuple[str, int], now: float
) -> list[PlainRequest]:
    """Return what may be executed at once of datagrams from one source."""
    requests = server.plain_requests(datagrams)
    return server.new_requests(requests, [source] * len(datagrams), now)


@given(st.lists(datagrams, max_size=8), st.booleans())
@example(datagrams=[b"1 PING\n\x001 PING\n", b"1 PING\n"], closing=False)
@example(datagrams=[b"1 PING\n1 PING\n", b"1 PING\n"], closing=False)
@example(datagrams=[b"1 PI", b"NG\n", b"1 PING\n1 PING\n"], closing=False)
def test_plain_requests_are_those_that_may_be_executed(
    datagrams: list[bytes],
    closing: bool,
) -> None:
    server = DatagramServer(LIMITS)
    for tag, is_async in ((b"2", True), (b"3", False)):  # the one runs, the other is kept
        call = server.begin(
            Request(tag, b"CALL", (b"a",)), SOURCE, 9, keep_reply=True, is_async=is_async
        )
        assert call is not None
        if not is_async:
            server.finish(call, [Reply(b"3", OK)], 0.0)
    server.closing = closing
    found = new_requests(server, datagrams, SOURCE, 1.0)
    for plain, datagram in zip(found, datagrams, strict=False):
        assert server.receive_untrusted(datagram, SOURCE, 1.0) == plain_to_request(plain)
        assert len(datagram) <= LIMITS.max_datagram
    if len(found) < len(datagrams) and not closing:
        other = server.receive_untrusted(datagrams[len(found)], SOURCE, 1.0)
        is_long = len(datagrams[len(found)]) > LIMITS.max_datagram
        is_bare = isinstance(other, Request) and other.plain and other.verb == b"PING"
        assert not is_bare or is_long or datagrams[len(found)].endswith((b"\r\n", b"#\n"))
    assert not (closing and found)


def test_a_plain_request_is_remembered_no_longer_than_any() -> None:
    server = DatagramServer(LIMITS)
    call = server.begin(Request(b"1", b"CALL", (b"a",)), SOURCE, 9, keep_reply=True, is_async=False)
    assert call is not None
    server.finish(call, [Reply(b"1", OK)], 0.0)
    ping, other_source = (b"1", b"", b"", b"", b""), ("192.0.2.2", 1)
    assert new_requests(server, [b"1 PING\n"], SOURCE, LIMITS.window - 1) == []
    assert new_requests(server, [b"1 PING\n"], other_source, 1.0) == [ping]
    assert new_requests(server, [b"1 PING\n"], SOURCE, LIMITS.window) == [ping]


LONG = b"x" * 60


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        (b"1 PING x" + LONG, b"1 bad-line"),  # ESPS-UDP-3
        (b"1 PING x\n2 PING" + LONG + b"\n", b"1 bad-line"),
        (b"1\n2 PING" + LONG + b"\n", b"1 bad-line"),
        (b"1 PING\n\n" + LONG, b"1 bad-line"),
        (b"1  PING " + LONG + b"\n", b"1 bad-line"),
        # ESPS-UDP-48: what precedes the first LF, and the CR before that, is the line
        (b"abcdefgh\nb PING\n", b"abcdefgh bad-line"),
        (b"abcdefgh\r\nb PING\n", b"abcdefgh bad-line"),
        (b"abcdefgh", b"abcdefgh bad-line"),
        (b"abcdefgh PING\r", b"abcdefgh bad-line"),
        (b"1 PING ".ljust(512, b"x") + b"\n", b"1 too-long"),
        (b"1  nonsense".ljust(512, b"#") + b"\n", b"1 too-long"),
        (b"1 ping " + LONG + b"\n", b"1 unknown-verb"),
        (b"1 QUIT " + LONG + b"\n", b"1 use-tcp"),  # ESPS-UDP-9
        (b"1 CANCEL " + LONG + b"\n", b"1 use-tcp"),
    ],
)
def test_refusals(datagram: bytes, expected: bytes) -> None:
    assert code(receive(datagram)) == expected


def test_a_datagram_may_be_as_long_as_a_line() -> None:
    line = b"1 PING ".ljust(511, b"#") + b"\n"
    assert receive(line) == Request(b"1", b"PING")


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        (b"1  nonsense", b"1 bad-line"),
        (b"1 nonsense\n", b"1 closing"),
        (b"1 QUIT\n", b"1 closing"),
        (b"1 PING\n", b"1 closing"),
    ],
)
def test_the_order_of_the_checks_while_the_server_closes(datagram: bytes, expected: bytes) -> None:
    # ESPS-CHK-4, ESPS-UDP-11
    server = DatagramServer(Limits(amplification=100))
    server.closing = True
    assert code(server.receive_untrusted(datagram, SOURCE, 0.0)) == expected


@given(noise)
@example(b"1\nx OK\n")
@example(b"1\n")
def test_no_datagram_is_amplified_or_looped(datagram: bytes) -> None:
    # ESPS-UDP-4, ESPS-UDP-6, ESPS-UDP-7, ESPS-UDP-12
    answer = receive(datagram)
    if isinstance(answer, Request):
        assert datagram.endswith(b"\n")
    if looks_like_answer(datagram):
        assert answer is None
    if isinstance(answer, bytes):
        assert len(answer) <= min(3 * len(datagram), LIMITS.max_datagram)
        assert datagram.startswith(answer.split(b" ")[0])
        assert looks_like_answer(answer)
        assert receive(answer) is None


# -- how long an answer may be

answers = st.one_of(
    st.lists(
        st.builds(lambda tag, row: Reply(tag, DATA, row), st.just(b"1"), args), max_size=3
    ).map(lambda rows: [*rows, Reply(b"1", OK)]),
    errors.map(lambda error: [error]),
    tags.map(lambda tag: [Notice(ERR, (b"tag-in-use", tag))]),
    st.integers(1, 300).map(lambda size: [Reply(b"1", OK, (b"x" * size,))]),
)
limits = st.builds(Limits, max_datagram=st.integers(64, 300), amplification=st.integers(1, 5))


@given(answers, st.integers(1, 400), limits)
def test_what_is_sent_keeps_both_bounds(
    replies: list[Reply | Notice], size: int, limits: Limits
) -> None:
    # ESPS-UDP-12, ESPS-UDP-13
    sent = DatagramServer(limits).clamp_reply(replies, b"1", size)
    room = min(limits.amplification * size, limits.max_datagram)
    full = b"".join(reply.encode() for reply in replies)
    if len(full) <= room:
        assert sent == full  # ESPS-UDP-2: all lines, in one datagram
    elif sent is not None:
        assert len(sent) <= room
        is_error = len(replies) == 1 and b"ERR" in full.split()[:2]
        # ESPS-UDP-16: an error loses its text, and never becomes another error.
        assert full.startswith(sent[:-1]) if is_error else code(sent) == b"1 too-large"


@given(st.integers(1, 190), st.integers(8, 100))
def test_needed_is_the_least_length_that_makes_room(arg: int, size: int) -> None:
    # ESPS-UDP-14, ESPS-UDP-19
    replies = [Reply(b"1", OK, (b"x" * arg,))]
    server = DatagramServer(LIMITS)
    sent = server.clamp_reply(replies, b"1", size)
    assert sent is not None
    if code_or_nothing(sent) != b"1 too-large":
        return
    needed = int(sent.split()[3])
    assert needed > size
    assert server.clamp_reply(replies, b"1", needed) == replies[0].encode()
    assert server.clamp_reply(replies, b"1", needed - 1) != replies[0].encode()


def code_or_nothing(answer: bytes) -> bytes:
    return code(answer) if answer.split()[1] == ERR else b""


WITH_TEXT = b"1 ERR too-large 41 pad%20the%20request%20to%20that\n"


@pytest.mark.parametrize(
    ("reply", "size", "sent"),
    [
        # 123 bytes need a request of 41; that error loses its text where it does not fit.
        (Reply(b"1", OK, (b"x" * 117,)), 40, WITH_TEXT),
        (Reply(b"1", OK, (b"x" * 117,)), 7, b"1 ERR too-large 41\n"),
        (Reply(b"1", OK, (b"x" * 117,)), 6, None),
        (Reply(b"1", OK, (b"x" * 117,)), 41, b"1 OK " + b"x" * 117 + b"\n"),
        # ESPS-UDP-15, just not and just so
        (Reply(b"1", OK, (b"x" * 194,)), 40, WITH_TEXT.replace(b"41", b"67")),
        (Reply(b"1", OK, (b"x" * 195,)), 40, b"1 ERR too-large 0 use-tcp\n"),
        (Reply(b"1", OK, (b"x" * 200,)), 99, b"1 ERR too-large 0 use-tcp\n"),
        (Reply(b"1", OK, (b"x" * 200,)), 8, b"1 ERR too-large 0\n"),
        # ESPS-UDP-16, ESPS-UDP-17
        (Reply(b"1", ERR, (b"busy", b"x" * 20)), 6, b"1 ERR busy\n"),
        (Reply(b"1", ERR, (b"busy", b"x" * 20)), 3, None),
        (Reply(b"12", ERR, (b"busy", b"x" * 20)), 4, b"12 ERR busy\n"),  # it just fits
        (Reply(b"1", ERR, (b"x-mine", b"x" * 300)), 99, b"1 ERR x-mine\n"),
        (Reply(b"1", ERR, (b"too-large", b"41", b"x" * 20)), 7, b"1 ERR too-large 41\n"),
    ],
)
def test_what_does_not_fit(reply: Reply, size: int, sent: bytes | None) -> None:
    assert DatagramServer(LIMITS).clamp_reply([reply], b"1", size) == sent


@pytest.mark.parametrize(("size", "needed"), [(512, b"512"), (513, b"0")])
def test_no_request_is_to_be_longer_than_a_line(size: int, needed: bytes) -> None:
    # ESPS-UDP-14, ESPS-UDP-15
    limits = Limits(max_line=512, max_datagram=65507, amplification=1)
    reply = Reply(b"1", OK, (b"x" * (size - len(b"1 OK \n")),))
    sent = DatagramServer(limits).clamp_reply([reply], b"1", 500)
    assert sent is not None
    assert sent.startswith(b"1 ERR too-large " + needed + b" ")


# -- errors that are not sent

DAYTIME = b"Thu Nov 26 15:20:01 2026\n"


@pytest.mark.parametrize("port", [1, 13, 19, 53, 123, 1023])
@cases(
    "datagram",
    [DAYTIME, b"1  PING" + LONG + b"\n", b"1 QUIT " + LONG + b"\n", b"1 " + LONG * 9 + b"\n"],
)
def test_no_error_goes_to_a_low_port(datagram: bytes, port: int) -> None:
    # ESPS-UDP-44
    server = DatagramServer(LIMITS)
    assert isinstance(server.receive_untrusted(datagram, ("192.0.2.1", port), 0.0), Ignored)
    assert isinstance(server.receive_untrusted(datagram, ("192.0.2.1", 1024), 0.0), bytes)


def test_no_tag_in_use_goes_to_a_low_port() -> None:
    # ESPS-UDP-44
    server, source = DatagramServer(LIMITS), ("192.0.2.1", 53)
    request = Request(b"1", b"CALL", (b"a",))
    assert server.begin(request, source, 9, keep_reply=True, is_async=True)
    for datagram in (b"1 CALL b #####\n", b"1  CALL b ####\n"):
        assert isinstance(server.receive_untrusted(datagram, source, 0.0), Ignored)


def test_a_valid_request_from_a_low_port_is_one_like_any_other() -> None:
    # ESPS-UDP-44
    server, source = DatagramServer(LIMITS), ("192.0.2.1", 53)
    assert server.receive_untrusted(b"1 PING\n", source, 0.0) == Request(b"1", b"PING")
    assert new_requests(server, [b"1 PING\n"], source, 0.0) == [(b"1", b"", b"", b"", b"")]


def test_an_address_gets_so_many_errors_and_other_answers_without_end() -> None:
    # ESPS-UDP-45
    server = DatagramServer(Limits())

    def errors(host: str, now: float, tries: int = 1000) -> int:
        answers = [server.receive_untrusted(DAYTIME, (host, 1024 + n), now) for n in range(tries)]
        assert all(isinstance(answer, bytes | Ignored) for answer in answers)
        return sum(isinstance(answer, bytes) for answer in answers)

    assert errors("192.0.2.1", 0.0) == 200
    assert errors("192.0.2.2", 0.0) == 200
    assert errors("192.0.2.1", 1.0) == 100
    for _ in range(1000):
        found = server.receive_untrusted(b"1 PING\n", ("192.0.2.1", 1024), 1.0)
        assert isinstance(found, Request)


def test_an_error_that_does_not_fit_takes_none_of_those() -> None:
    server = DatagramServer(Limits(error_burst=1))
    for _ in range(9):
        assert server.receive_untrusted(b"1 X\n", SOURCE, 0.0) is None
    assert isinstance(server.receive_untrusted(DAYTIME, SOURCE, 0.0), bytes)
