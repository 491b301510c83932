"""The grammar and our code agree, in both directions.

Our parsers accept what the grammar generates; the grammar accepts what our encoders emit; and both
reject everything else.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.product import PRODUCT
from esps_portal.protocol import grammar
from esps_portal.protocol.client_connection import ClientConnection
from esps_portal.protocol.datagram_server import DatagramServer
from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import (
    Notice,
    Reply,
    Request,
    error_reply,
    padded,
    parse_answer_untrusted,
    parse_request_untrusted,
)
from esps_portal.protocol.registry import VERSION
from esps_portal.protocol.server_connection import ServerConnection
from esps_portal.protocol.verb_arguments import argument_error
from esps_portal.services.builtin_portal import builtin_portal
from tests.spec.productions import generated, matches

arg_lists = st.lists(st.binary(max_size=40), max_size=5).map(tuple)
tags, verbs, names = (generated(rule).map(str.encode) for rule in ("tag", "verb", "name"))
terminators = st.sampled_from(["", "\r"])


def decoded(args: list[str]) -> tuple[bytes, ...]:
    """Decode arguments without our decoder."""
    return tuple(b"" if arg == '""' else unquote_to_bytes(arg) for arg in args)


def unpadded(tokens: list[str]) -> list[str]:
    return tokens[:-1] if tokens[-1].startswith("#") else tokens


# -- what the grammar generates


@given(generated("line"))
def test_a_line_is_one_kind_of_message(line: str) -> None:
    message = line.removesuffix("\n").removesuffix("\r")
    assert matches("line", line)
    assert any(matches(kind, message) for kind in ("request", "reply", "notice"))


@given(generated("request"), terminators)
def test_a_request_is_parsed(text: str, end: str) -> None:
    tag, verb, *args = unpadded(text.split(" "))
    request = parse_request_untrusted((text + end).encode("ascii"))
    assert request == Request(tag.encode(), verb.encode(), decoded(args))


@given(generated("reply"), terminators)
def test_a_reply_is_parsed(text: str, end: str) -> None:
    tag, kind, *args = text.split(" ")
    reply = parse_answer_untrusted((text + end).encode("ascii"))
    assert reply == Reply(tag.encode(), kind.encode(), decoded(args))


@given(generated("notice"), terminators)
def test_a_notice_is_parsed(text: str, end: str) -> None:
    _, word, *args = text.split(" ")
    notice = parse_answer_untrusted((text + end).encode("ascii"))
    assert notice == Notice(word.encode(), decoded(args))


@pytest.mark.parametrize("verb", ["hello", "ping", "list", "call", "cancel", "quit"])
@given(st.data())
def test_a_request_of_each_verb_is_accepted(verb: str, data: st.DataObject) -> None:
    text = data.draw(generated(verb))
    request = parse_request_untrusted(text.encode("ascii"))
    assert request.verb == verb.upper().encode()
    assert argument_error(request.verb, request.args) == ""
    read = ServerConnection(Limits()).read(text.encode("ascii"))
    assert not (isinstance(read, Reply) and read.args[0] == b"bad-arguments")


@given(tags, st.sampled_from([b"PING", b"LIST", b"CALL", b"QUIT"]), arg_lists)
def test_the_arguments_of_a_verb_are_those_of_the_grammar(
    tag: bytes, verb: bytes, args: tuple[bytes, ...]
) -> None:
    line = Request(tag, verb, args).encode()[:-1]
    allowed = not argument_error(verb, args)
    assert matches(verb.decode().lower(), line) is allowed


# -- what our encoders emit


@given(tags, verbs, arg_lists, st.integers(0, 300))
def test_an_encoded_request(tag: bytes, verb: bytes, args: tuple[bytes, ...], length: int) -> None:
    # ESPS-ARG-1, ESPS-ARG-2, ESPS-ARG-3, ESPS-ARG-4, ESPS-LINE-1, ESPS-LINE-2
    request = Request(tag, verb, args)
    line = request.encode()
    longer = padded(line, length)
    assert matches("request", line[:-1])
    assert matches("line", longer)
    assert all(matches("canonical-arg", token) for token in line[:-1].split(b" ")[2:])
    assert parse_request_untrusted(line[:-1]) == parse_request_untrusted(longer[:-1]) == request
    assert len(longer) in (max(len(line), length), len(line) + 2)


@given(tags, st.sampled_from([b"OK", b"DATA", b"ERR"]), names, arg_lists)
def test_an_encoded_reply(tag: bytes, kind: bytes, code: bytes, args: tuple[bytes, ...]) -> None:
    # ESPS-MSG-9
    reply = Reply(tag, kind, (code, *args) if kind == b"ERR" else args)
    line = reply.encode()
    assert matches("reply", line[:-1])
    assert matches("line", line)
    assert all(matches("canonical-arg", token) for token in line[:-1].split(b" ")[2:])
    assert parse_answer_untrusted(line[:-1]) == reply


@given(st.sampled_from([b"ESPS/1", b"ERR", b"BYE"]), arg_lists)
def test_an_encoded_notice(word: bytes, args: tuple[bytes, ...]) -> None:  # ESPS-MSG-9
    notice = Notice(word, args)
    line = notice.encode()
    assert matches("notice", line[:-1])
    assert matches("line", line)
    assert all(matches("canonical-arg", token) for token in line[:-1].split(b" ")[2:])
    assert parse_answer_untrusted(line[:-1]) == notice


def test_lines_of_a_fixed_form() -> None:
    def ends(notice: Notice | None) -> bytes:
        assert notice is not None
        return notice.encode()[:-1]

    assert matches("greeting", Notice(VERSION, (PRODUCT.encode(),)).encode()[:-1])
    assert matches("goodbye", ends(ServerConnection(Limits()).shut_down()))
    assert matches("goodbye", ends(ServerConnection(Limits()).idle_timeout()))
    assert matches("in-use", error_reply(None, "tag-in-use", b"a").encode()[:-1])
    assert matches("untagged-error", error_reply(None, "bad-line", "text").encode()[:-1])
    for size, room in ((60, 10), (5000, 100)):
        reply = Reply(b"a", b"OK", (b"x" * size,))
        answer = DatagramServer(Limits()).clamp_reply([reply], b"a", room)
        assert matches("too-large", (answer or b"")[:-1])


def test_replies_to_hello_and_list() -> None:  # ESPS-VERB-1, ESPS-VERB-7, ESPS-VERB-10
    portal = builtin_portal(PRODUCT)
    assert matches("product", portal.product)
    for idle in (0, 0.001, 0.5, 600, 1e7, 1e12):
        assert all(matches("limit", pair) for pair in Limits(idle=idle, window=idle).announced())
    for service in portal.services:
        name, flags, _, _ = service.list_args()
        assert matches("name", name)
        assert matches("flags", flags)


def test_what_a_client_sends() -> None:
    connection = ClientConnection(lambda: b"c1")
    for verb, args in (("HELLO", ["ESPS/1"]), ("PING", ["", "ü"]), ("CALL", ["echo", " "])):
        line = connection.ask(verb, args).line
        assert matches(verb.lower(), line[:-1])
    assert matches("cancel", connection.cancellation(connection.ask("PING", ()))[:-1])


# -- neither

PIECES = ["1", "PING", " ", "  ", '""', '"', "#", "%", "%4", "%41", "a", "\r", "*", "\t"]
PIECES += ["OK", "DATA", "ERR", "ESPS/1", "BYE", " OK", " ERR ", "* ", "\x7f", "\x80"]
near_misses = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
noise = st.binary(max_size=30).map(lambda found: found.replace(b"\n", b"").decode("latin-1"))


@given(near_misses | noise)
def test_both_agree_on_what_is_a_request(text: str) -> None:
    line = text.encode("latin-1")
    if matches("request", text.removesuffix("\r")):
        parse_request_untrusted(line)
    else:
        with pytest.raises(ProtocolError) as caught:
            parse_request_untrusted(line)
        assert caught.value.code == "bad-line"


@given(near_misses | noise)
def test_both_agree_on_what_is_an_answer(text: str) -> None:
    line, message = text.encode("latin-1"), text.removesuffix("\r")
    if matches("reply", message) or matches("notice", message):
        parse_answer_untrusted(line)
    else:
        with pytest.raises(ProtocolError) as caught:
            parse_answer_untrusted(line)
        assert caught.value.code == "bad-line"


@pytest.mark.parametrize(
    ("rule", "expression"),
    [("tag", grammar.TAG), ("verb", grammar.VERB), ("name", grammar.NAME)],
)
@given(st.data())
def test_both_agree_on_tokens(
    rule: str, expression: re.Pattern[bytes], data: st.DataObject
) -> None:
    assert expression.fullmatch(data.draw(generated(rule)).encode("ascii"))
    text = data.draw(st.text(st.sampled_from("aZ09.-_*%é \n"), max_size=70))
    assert matches(rule, text) is (expression.fullmatch(text.encode("latin-1")) is not None)
