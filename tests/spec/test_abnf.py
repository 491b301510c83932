"""The grammar of `spec/esps-1.abnf`, loaded by an ABNF parser that is not ours.

Two directions: what the grammar generates is accepted (by the grammar itself, and by our
parser), and what our encoder emits the grammar accepts.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from abnf import ParseError
from abnf.parser import Rule
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.messages import Request, parse_request_untrusted

SPEC = Path(__file__).resolve().parents[2] / "spec"
GRAMMAR = (SPEC / "esps-1.abnf").read_text(encoding="ascii")


class Grammar(Rule):  # type: ignore[misc, unused-ignore]
    """The rules of ESPS/1, apart from those of any other grammar in this process."""


Grammar.load_grammar(GRAMMAR)


def matches(rule: str, text: str | bytes) -> bool:
    """Whether all of ``text`` is a ``rule``; each octet counts as one character."""
    source = text.decode("latin-1") if isinstance(text, bytes) else text
    try:
        Grammar(rule).parse_all(source)
    except ParseError:
        return False
    return True


# -- the file

DEFINED = re.findall(r"^([A-Za-z][A-Za-z0-9-]*) +=(?!/)", GRAMMAR, re.MULTILINE)
CORE = {"ALPHA", "CR", "DIGIT", "HEXDIG", "LF", "SP"}


def test_each_rule_is_defined_once() -> None:
    assert len({name.casefold() for name in DEFINED}) == len(DEFINED)
    assert not CORE & set(DEFINED)


def test_each_rule_that_is_used_is_defined() -> None:
    without = re.sub(r";.*|%s\"[^\"]*\"|\"[^\"]*\"|%x[0-9A-F.-]+", "", GRAMMAR)
    used = set(re.findall(r"[A-Za-z][A-Za-z0-9-]*", without))
    assert used <= {*DEFINED, *CORE}
    assert all(Grammar(name).definition for name in DEFINED)


def test_core_rules_that_are_used_are_repeated_as_comments() -> None:
    repeated = set(re.findall(r"^; ([A-Z]+) +=", GRAMMAR, re.MULTILINE))
    assert repeated == CORE


def test_the_text_quotes_the_grammar() -> None:
    text = (SPEC / "esps-1.md").read_text(encoding="utf-8")
    quoted = text.split("```abnf\n")[1].split("```")[0]

    class Quoted(Rule):  # type: ignore[misc, unused-ignore]
        """The rules as the text has them."""

    Quoted.load_grammar(quoted)
    for rule, source, good in CASES:
        if rule == "line":
            assert _accepts(Quoted("line"), source) is good, source


def _accepts(rule: Rule, source: bytes) -> bool:
    try:
        rule.parse_all(source.decode("latin-1"))
    except ParseError:
        return False
    return True


# -- a table of lines

GOOD_REQUESTS = [
    b"1 PING\n",
    b"1 PING\r\n",
    b"- PING\n",
    b"a.b_c-D9 PING\n",
    b"t" * 32 + b" PING\n",
    b"1 " + b"V" * 16 + b"\n",
    b"1 ping\n",
    b"1 OK\n",
    b'1 PING ""\n',
    b'1 PING "" ""\n',
    b"1 PING %20\n",
    b"1 PING %0a%0D%ff\n",
    b"1 PING %41\n",
    b"1 PING !$&'()*+,-./:;<=>?@[\\]^_`{|}~\n",
    b"1 PING #\n",
    b"1 PING ####\n",
    b"1 PING a ####\r\n",
]
BAD_LINES = [
    b"",
    b"\n",
    b"\r\n",
    b"1\n",
    b"1 \n",
    b"1 PING",
    b"1 PING\r",
    b"1 PING\r\r\n",
    b"1 PING\n\n",
    b"1 PING\n1 PING\n",
    b" 1 PING\n",
    b"1  PING\n",
    b"1 PING \n",
    b"1 PING  a\n",
    b"1\tPING\n",
    b"1 PI\rNG\n",
    b"1 PING a\rb\n",
    b"1 PING \x00\n",
    b"1 PING \x7f\n",
    b"1 PING \x80\n",
    b"1 PING \xc3\xa9\n",
    b"t" * 33 + b" PING\n",
    b"1 " + b"V" * 17 + b"\n",
    b"1 PING2\n",
    b"1% PING\n",
    b"1 P%49NG\n",
    b"@ PING\n",
    b"1 PING %\n",
    b"1 PING %4\n",
    b"1 PING %4g\n",
    b"1 PING a%\n",
    b'1 PING "\n',
    b'1 PING """"\n',
    b'1 PING a""\n',
    b'1 PING ""a\n',
    b"1 PING a#\n",
    b"1 PING #a\n",
    b"1 PING # a\n",
    b"1 PING # #\n",
    b"1 #\n",
    b"# PING\n",
    b"* PING\n",
    b"*\n",
    b"* ESPS/2 x/1\n",
    b"*  BYE idle\n",
    b"* BYE idle ##\n",
]
GOOD_ANSWERS = [
    b"1 OK\n",
    b'1 OK a "" %25\n',
    b"1 DATA\n",
    b"1 DATA 1\n",
    b"1 ERR busy\n",
    b"1 ERR x-mine two%20words and more\n",
    b"* ESPS/1 esps-portal/0.1.0\n",
    b"* BYE idle\n",
    b"* ERR tag-in-use 1\n",
]
# What is no reply, such as `1 ERR` without a code, may still be a request with an unknown verb.
CASES: list[tuple[str, bytes, bool]] = [
    *(("line", line, True) for line in GOOD_REQUESTS + GOOD_ANSWERS),
    *(("line", line, False) for line in BAD_LINES),
    *(("request", line.rstrip(b"\r\n"), True) for line in GOOD_REQUESTS),
    ("reply", b"1 ERR", False),
    ("reply", b"1 ERR Busy", False),
    ("reply", b"1 ERR 9", False),
    ("reply", b"1 ERR " + b"n" * 64, True),
    ("reply", b"1 ERR " + b"n" * 65, False),
    ("reply", b"1 ok", False),
    ("reply", b"1 OK ##", False),
    ("reply", b"1 ERR busy ##", False),
    ("notice", b"* bye idle", False),
    ("notice", b"* esps/1 a/1", False),
    ("empty-line", b"\n", True),
    ("empty-line", b"\r\n", True),
    ("empty-line", b" \n", False),
    ("hello", b"1 HELLO ESPS/1 ESPS/22", True),
    ("hello", b"1 HELLO", False),
    ("hello", b"1 HELLO esps/1", False),
    ("hello", b"1 HELLO ESPS/1.1", False),
    ("ping", b'1 PING a "" #', True),
    ("list", b"1 LIST", True),
    ("list", b"1 LIST echo", True),
    ("list", b"1 LIST echo time", False),
    ("call", b"1 CALL echo hi", True),
    ("call", b"1 CALL", False),
    ("cancel", b"1 CANCEL 2", True),
    ("cancel", b"1 CANCEL", False),
    ("cancel", b"1 CANCEL 2 3", False),
    ("cancel", b'1 CANCEL ""', False),
    ("quit", b"1 QUIT", True),
    ("quit", b"1 QUIT now", False),
    ("canonical-arg", b"%0A", True),
    ("canonical-arg", b"%0a", False),
    ("name", b"esps-portal", True),
    ("name", b"Echo", False),
    ("name", b"-x", False),
    ("product", b"esps-portal/0.1.0", True),
    ("product", b"esps-portal", False),
    ("limit", b"max-line=8192", True),
    ("limit", b"window=0.5", True),
    ("limit", b"window=.5", False),
    ("flags", b"ai", True),
    ("flags", b"-", True),
    ("flags", b"a-", False),
    ("extension-code", b"x-mine", True),
    ("extension-code", b"x-", False),
    ("greeting", b"* ESPS/1 esps-portal/0.1.0", True),
    ("greeting", b"* ESPS/1", False),
    ("goodbye", b"* BYE closing", True),
    ("untagged-error", b"* ERR bad-line words", True),
    ("in-use", b"* ERR tag-in-use 7", True),
    ("too-large", b"1 ERR too-large 41", True),
    ("too-large", b"1 ERR too-large lots", False),
]


@pytest.mark.parametrize(("rule", "source", "good"), CASES)
def test_the_grammar_tells_good_from_bad(rule: str, source: bytes, *, good: bool) -> None:
    assert matches(rule, source) is good


# -- what the productions generate

ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
LETTERS, LOWER = ALPHANUMERIC[:52], ALPHANUMERIC[26:52]
PLAIN = "!$" + "".join(map(chr, range(0x26, 0x7F)))

tags = st.text(ALPHANUMERIC + "-._", min_size=1, max_size=32)
verbs = st.text(LETTERS, min_size=1, max_size=16)
escapes = st.text("0123456789ABCDEFabcdef", min_size=2, max_size=2).map("%{}".format)
args = st.just('""') | st.lists(st.sampled_from(PLAIN) | escapes, min_size=1).map("".join)
names = st.builds(
    "{}{}".format, st.sampled_from(LOWER), st.text(LOWER + "0123456789-._", max_size=63)
)
paddings: st.SearchStrategy[list[str]] = st.integers(1, 9).map(lambda n: ["#" * n]) | st.just([])
arg_lists = st.lists(args, max_size=5)
terminators = st.sampled_from(["\n", "\r\n"])

requests = st.builds(
    lambda *t: " ".join([t[0], t[1], *t[2], *t[3]]), tags, verbs, arg_lists, paddings
)
replies = st.builds(
    lambda tag, kind, rest: " ".join([tag, *kind, *rest]),
    tags,
    st.sampled_from([["OK"], ["DATA"]]) | names.map(lambda name: ["ERR", name]),
    arg_lists,
)
notices = st.builds(
    lambda word, rest: " ".join(["*", word, *rest]),
    st.sampled_from(["ESPS/1", "ERR", "BYE"]),
    arg_lists,
)


@given(st.one_of(requests, replies, notices), terminators)
def test_what_the_productions_generate_is_a_line(message: str, terminator: str) -> None:
    assert matches("line", message + terminator)


@given(requests)
def test_a_generated_request_parses_to_its_tokens(text: str) -> None:
    assert matches("request", text)
    request = parse_request_untrusted(text.encode("ascii"))
    tokens = text.split(" ")
    assert [request.tag, request.verb] == [token.encode() for token in tokens[:2]]
    assert len(request.args) == len([token for token in tokens[2:] if "#" not in token])


@given(tags.map(str.encode), verbs.map(str.encode), st.lists(st.binary(max_size=40), max_size=5))
def test_what_the_encoder_emits_is_canonical(tag: bytes, verb: bytes, octets: list[bytes]) -> None:
    request = Request(tag, verb, tuple(octets))
    line = request.encode()
    assert matches("line", line)
    assert line.endswith(b"\n")
    assert all(matches("canonical-arg", token) for token in line[:-1].split(b" ")[2:])
    assert parse_request_untrusted(line[:-1]) == request


PIECES = ["1", "PING", " ", "  ", '""', '"', "#", "%", "%4", "%41", "a", "\r", "*", "\t"]
near_misses = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
noise = st.binary(max_size=30).map(lambda octets: octets.replace(b"\n", b"").decode("latin-1"))


@given(near_misses | noise)
def test_our_parser_and_the_grammar_agree_on_what_is_a_request(text: str) -> None:
    line = text.encode("latin-1")
    if matches("request", text.removesuffix("\r")):
        parse_request_untrusted(line)
    else:
        with pytest.raises(ProtocolError) as caught:
            parse_request_untrusted(line)
        assert caught.value.code == "bad-line"
