"""Messages are parsed from lines and encoded as lines."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.messages import (
    DATA,
    ERR,
    OK,
    Notice,
    Reply,
    Request,
    error_reply,
    looks_like_answer,
    padded,
    parse_answer_untrusted,
    parse_request_untrusted,
    readable_request,
    readable_tag,
)
from tests.cases import cases
from tests.protocol.strategies import args, noise, notices, replies, requests

# The canonical form of a whole line: visible ASCII, single SP, upper-case hex, one LF.
CANONICAL = re.compile(rb'[^ %"#\n]+(?: (?:""|(?:[!$&-~]|%[0-9A-F]{2})+))+\n')


# -- round trips


@given(requests, st.sampled_from([b"", b"\r"]))
def test_a_request_comes_back(request: Request, cr: bytes) -> None:
    # ESPS-LINE-4: the one CR is not part of the message
    line = request.encode()
    assert parse_request_untrusted(line.removesuffix(b"\n") + cr) == request
    assert request.size == len(line)


@pytest.mark.parametrize("line", [b"1 PING", b"1 PING a ##\r", b"1 PING %41", b'1 PING "" #\r'])
def test_a_request_knows_what_its_line_was(line: bytes) -> None:
    # ESPS-LINE-25: its answer may be as long
    request = parse_request_untrusted(line)
    assert request.length == len(line + b"\n")
    assert request.plain is not (b"%" in line or b'"' in line)


@given(replies | notices, st.sampled_from([b"", b"\r"]))
def test_an_answer_comes_back(answer: Reply | Notice, cr: bytes) -> None:
    line = answer.encode()
    assert parse_answer_untrusted(line.removesuffix(b"\n") + cr) == answer
    assert answer.size == len(line)


@given(requests | replies | notices)
def test_lines_are_canonical(message: Request | Reply | Notice) -> None:
    # ESPS-LINE-1, ESPS-LINE-2, ESPS-MSG-9
    line = message.encode()
    assert CANONICAL.fullmatch(line)
    assert b"\r" not in line


@given(args)
def test_requests_replies_and_notices_write_arguments_alike(given_args: tuple[bytes, ...]) -> None:
    tails = {
        Request(b"1", b"OK", given_args).encode().removeprefix(b"1 OK"),
        Reply(b"1", OK, given_args).encode().removeprefix(b"1 OK"),
        Notice(b"BYE", given_args).encode().removeprefix(b"* BYE"),
    }
    assert len(tails) == 1


# -- padding


@given(requests, st.integers(0, 400))
def test_a_padded_request_is_long_enough_and_means_the_same(request: Request, length: int) -> None:
    # ESPS-MSG-7, ESPS-UDP-18
    bare = request.encode()
    line = padded(bare, length)
    assert parse_request_untrusted(line[:-1]) == request
    assert padded(bare, len(bare)) == bare
    if length <= len(bare):
        assert line == bare
    else:
        # SP and "#" are two bytes: a request one byte too short becomes one byte too long.
        assert len(line) == max(length, len(bare) + 2)


# -- what is not a message


@given(noise)
def test_only_a_protocol_error_leaves_a_parser(line: bytes) -> None:
    for parse in (parse_request_untrusted, parse_answer_untrusted):
        try:
            parse(line)
        except ProtocolError as caught:
            error = caught
        else:
            continue
        assert error.code == "bad-line"
        assert error.message


@cases(
    ("line", "text"),
    [
        (b"", "must begin with a tag"),
        (b"1 PING \x80", "over 0x7E"),  # ESPS-LINE-7
        (b"1 PING \x7f", "over 0x7E"),  # ESPS-LINE-6
        (b"1 PING\r x", "a CR"),  # ESPS-LINE-5
        (b"1 PING\r\r", "a CR"),
        (b"1 PING \x1f", "a control byte"),  # ESPS-LINE-6
        (b"1\tPING", "a control byte"),
        (b" 1 PING", "one SP"),  # ESPS-LINE-8
        (b"1 PING ", "one SP"),
        (b"1 PING \r", "one SP"),
        (b"1  PING", "one SP"),
        (b"@ PING", "must begin with a tag"),  # ESPS-LINE-12
        (b"~ PING", "must begin with a tag"),
        (b"t" * 33 + b" PING", "must begin with a tag"),
        (b"%41 PING", "must begin with a tag"),  # ESPS-ARG-11
        (b"1", "a verb"),
        (b"1 P%49NG", "a verb"),  # ESPS-ARG-11
        (b"1 " + b"V" * 17, "a verb"),
        (b'1 PING "x"', "a quote"),  # ESPS-ARG-8
        (b'1 PING """"', "a quote"),
        (b"1 PING x#", "padding"),  # ESPS-MSG-8
        (b"1 PING # #", "padding"),
        (b"1 PING %4", "two hex digits"),  # ESPS-ARG-7
        (b"1 PING %4g", "two hex digits"),
        (b'1 PING "" %4 ##', "two hex digits"),
        (b'1 PING %41 x#y %4 "', "padding"),
        (b'1 PING # "', "padding"),
        (b'1 PING "" a" ##', "a quote"),
    ],
)
def test_a_bad_line_says_what_is_wrong(line: bytes, text: str) -> None:
    with pytest.raises(ProtocolError, match=text) as caught:
        parse_request_untrusted(line)
    assert caught.value.code == "bad-line"


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"1", b"1 PING", b"1 ok", b"1 OK ", b"1 OK #", b"1 OK %4", b"1 ERR", b"1 ERR Busy"),
        *(b"1 ERR b%75sy", b"1 ERR " + b"n" * 65, b"*", b"* OK", b"* bye", b"* BYE #", b"* ESPS/2"),
    ],
)
def test_lines_that_no_portal_sends(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_answer_untrusted(line)


def test_case_matters() -> None:
    # ESPS-MSG-1
    assert parse_request_untrusted(b"aB ping") == Request(b"aB", b"ping")
    assert parse_request_untrusted(b"aB ping") != parse_request_untrusted(b"ab ping")


# -- the tag of a rejected line


@pytest.mark.parametrize(
    ("line", "tag"),
    [
        (b"1", b"1"),
        (b"1\r", b"1"),
        (b"1 ", b"1"),
        (b"1  PING", b"1"),
        (b"t" * 32 + b" \xff", b"t" * 32),
        (b"", None),
        (b" 1", None),
        (b"1\rPING", None),
        (b"1\r\r", None),
        (b"*", None),
        (b"* 1", None),
        (b"t" * 33, None),
        (b"t" * 33 + b" PING", None),
        (b"1@ PING", None),
    ],
)
def test_a_tag_is_read_where_it_can_be(line: bytes, tag: bytes | None) -> None:
    # ESPS-CHK-1
    assert readable_tag(line) == tag


@given(requests, noise)
def test_the_tag_is_read_whatever_follows(request: Request, rest: bytes) -> None:
    assert readable_tag(request.tag + b" " + rest) == request.tag


# -- what is never answered over UDP


@given(replies | notices, st.integers(0, 5))
def test_an_answer_looks_like_one(answer: Reply | Notice, excess: int) -> None:
    line = answer.encode()
    begins = line if isinstance(answer, Reply) else line[: 1 + excess]
    assert looks_like_answer(begins)
    assert looks_like_answer(begins.replace(b"\n", b"") + b"\r\n")


ANSWERS = [b"*", b"*x", b"1 OK", b"1 OK\r", b" OK", b"@\xff ERR ", b"1 DATA\n"]
# The second token follows the first SP, and that may be in a second line.
AFTER_LF = [b"1\n2 OK\n", b"1\r\n2 ERR x\n"]
NO_ANSWERS = [b"", b"1", b"OK", b"1 OKAY", b"1 ok", b"1 PING OK", b"1  OK", b"1 PING\n2 OK\n"]


@pytest.mark.parametrize(
    ("line", "is_answer"),
    [
        *((line, True) for line in ANSWERS + AFTER_LF),
        *((line, False) for line in NO_ANSWERS),
    ],
)
def test_the_second_token_shows_an_answer(line: bytes, *, is_answer: bool) -> None:
    assert looks_like_answer(line) is is_answer


# -- errors


def test_an_error_has_the_tag_that_could_be_read() -> None:
    assert error_reply(b"1", "busy", "try again").encode() == b"1 ERR busy try%20again\n"
    assert error_reply(None, "bad-line", b"\xff").encode() == b"* ERR bad-line %FF\n"


def test_the_text_can_be_left_out() -> None:
    reply = Reply(b"1", ERR, (b"too-large", b"41", b"pad", b"it"))
    assert reply.without_text().encode() == b"1 ERR too-large\n"
    assert reply.without_text(1).encode() == b"1 ERR too-large 41\n"


@pytest.mark.parametrize(
    ("line", "service"),
    [
        (b"a CALL echo hi", b"echo"),
        (b"a CALL %65cho", b"echo"),
        (b'a CALL ""', b""),
        (b"a CALL", None),
        (b"a LIST echo", None),
        (b"a PING", None),
    ],
)
def test_the_service_that_a_request_calls(line: bytes, service: bytes | None) -> None:
    assert parse_request_untrusted(line).service == service


def test_kinds_of_reply() -> None:
    assert parse_answer_untrusted(b'1 DATA "" x') == Reply(b"1", DATA, (b"", b"x"))
    assert parse_answer_untrusted(b"1 ERR x-mine") == Reply(b"1", ERR, (b"x-mine",))
    assert parse_answer_untrusted(b"* ESPS/1 a/1") == Notice(b"ESPS/1", (b"a/1",))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"a OK \xff\r", "a byte over 0x7E: escape it as %XX"),
        (b"a OK x\x01", "a control byte: escape it as %XX"),
        (b"@ OK", "it is not a reply: TAG OK, TAG DATA or TAG ERR"),
        (b"a YES", "it is not a reply: TAG OK, TAG DATA or TAG ERR"),
        (b"a ERR Bad", "after ERR comes a code: a-z, then up to 63 of a-z 0-9 - . _"),
        (b"* OK", "after the * comes ESPS/1, ERR or BYE"),
        (b"* BYE %1", "a % must be followed by two hex digits"),
        (b"a OK Bad% x\r", "a % must be followed by two hex digits"),
        (b'a ERR bad x"y', 'a quote is allowed only in "", the empty argument: escape it as %22'),
        (b"a DATA x#y", "# is allowed only as padding at the end of a request: escape it as %23"),
        (b"a OK x #", "# is allowed only as padding at the end of a request: escape it as %23"),
        (b'a OK "" %4', "a % must be followed by two hex digits"),
    ],
)
def test_what_is_wrong_with_an_answer(line: bytes, text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_answer_untrusted(line)
    assert (caught.value.code, caught.value.message) == ("bad-line", text)


def test_what_can_be_read_of_a_line() -> None:
    assert readable_request(b"1 PING %41") == Request(b"1", b"PING", (b"A",))
    assert readable_request(b"1 PING %") is None
