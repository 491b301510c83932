"""The grammar file: what it defines, and a table of good and bad lines."""

from __future__ import annotations

import re

from abnf import ParseError
from abnf.parser import Rule

from tests.spec.documents import TEXT
from tests.spec.productions import GRAMMAR, grammar, matches

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
    assert all(grammar()(name).definition for name in DEFINED)


def test_core_rules_that_are_used_are_repeated_as_comments() -> None:
    repeated = set(re.findall(r"^; ([A-Z]+) +=", GRAMMAR, re.MULTILINE))
    assert repeated == CORE


def test_the_text_quotes_the_grammar() -> None:
    quoted = TEXT.split("```abnf\n")[1].split("```")[0]

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
# What is not a reply, such as `1 ERR` without a code, may still be a request with an unknown verb.
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
    ("canonical-arg", b"%20%22%23%25%7F%80%FF", True),
    *[("canonical-arg", escape, False) for escape in (b"%41", b"%21", b"%24", b"%26", b"%7E")],
    ("limit", b"max-line=8192", True),
    ("limit", b"x-mine=8192", True),
    ("limit", b"x-mine=no number", False),
    ("extension-key", b"x-mine=no number, \xff", True),
    ("extension-key", b"mine=1", False),
    ("call", b"a CALL echo x", True),
    ("call", b"a CALL Echo x", False),
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


def test_the_grammar_tells_good_from_bad() -> None:
    for rule, source, good in CASES:
        assert matches(rule, source) is good, (rule, source)
