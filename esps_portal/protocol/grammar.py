"""The productions of ``spec/esps-1.abnf`` as regular expressions, and the codec of arguments.

Each production is written above its expression, which is used with ``fullmatch``. Quantifiers are
possessive (``++``, ``*+``), and repeated groups atomic (``(?>...)``): an untrusted line is scanned
once, without backtracking. A possessive group would mean the same, but before Python 3.11.4 it
keeps the partial match of a repetition that then fails (CPython issue 100061).

This module knows bytes. It does not know what a verb does or which state a connection is in.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

# tag = 1*32(ALPHA / DIGIT / "-" / "." / "_")
_TAG = rb"[A-Za-z0-9._-]{1,32}+"
# verb = 1*16ALPHA
_VERB = rb"[A-Za-z]{1,16}+"
# The bytes of an argument that need no escape: %x21 / %x24 / %x26-7E
_PLAIN = rb"[!$&-~]"
PLAIN = bytes(byte for byte in range(0x21, 0x7F) if byte not in b'"#%')
# arg = %x22 %x22 / 1*(%x21 / %x24 / %x26-7E / "%" 2HEXDIG)
_ARG = rb'(?:""|(?>(?:' + _PLAIN + rb"++|%[0-9A-Fa-f]{2})+))"
# name = LCALPHA *63(LCALPHA / DIGIT / "-" / "." / "_")
_NAME = rb"[a-z][a-z0-9._-]{0,63}+"
# padding = 1*"#"
_PADDING = rb"#++"

TAG = re.compile(_TAG)
VERB = re.compile(_VERB)
NAME = re.compile(_NAME)
# version = %s"ESPS/" 1*DIGIT
VERSION = re.compile(rb"ESPS/[0-9]++")
# The first arguments of a line, each with the SP after it: as many as match the grammar.
GOOD_ARGS = re.compile(rb"(?>(?:%b )*)" % _ARG)

# request = tag SP verb *(SP arg) [SP padding]            followed by [CR]
REQUEST = re.compile(rb"(%b) (%b)((?>(?: %b)*))(?: %b)?\r?" % (_TAG, _VERB, _ARG, _PADDING))
# The same without arguments that need decoding: nearly every request.
PLAIN_REQUEST = re.compile(
    rb"(%b) (%b)(?>(?: (%b++(?>(?: %b++)*)))?)(?: %b)?\r?" % (_TAG, _VERB, _PLAIN, _PLAIN, _PADDING)
)
# A PING or a CALL whose arguments need no decoding, and its end: the groups are the tag, the name
# of the service, *(SP arg), and [CR].
_PLAIN_LINE = rb"(%b) (?:PING|CALL (%b))((?>(?: %b++)*))(\r?)\n" % (_TAG, _NAME, _PLAIN)
# Such a datagram among others, each with a NUL after it; the fifth group is any other, whole.
FIND_PLAIN_DATAGRAMS = re.compile(_PLAIN_LINE + rb"\x00|([^\x00]*+)\x00")
# Such a line among others, of which the fifth group is all, without the LF; empty lines that
# follow such another one are left out.
FIND_PLAIN = re.compile(_PLAIN_LINE + rb"|([^\n]*+)\n(?>(?:\n++|\r\n)*)")
# reply = tag SP ("OK" / "DATA") *(SP arg) / tag SP "ERR" SP name *(SP arg)   followed by [CR]
REPLY = re.compile(rb"(%b) (OK|DATA|ERR(?= %b(?:[ \r]|\Z)))((?>(?: %b)*))\r?" % (_TAG, _NAME, _ARG))
# Nearly every reply, with its LF: OK, without arguments that need decoding.
PLAIN_OK = re.compile(rb"(%b) OK((?>(?: %b++)*))\r?\n" % (_TAG, _PLAIN))
# notice = "*" SP ("ESPS/1" / "ERR" / "BYE") *(SP arg)    followed by [CR]
NOTICE = re.compile(rb"\* (ESPS/1|ERR|BYE)((?>(?: %b)*))\r?" % _ARG)

# How a reply or a notice begins, complete or not: it is never answered over UDP. The second token
# follows the first SP, whatever comes before that, even an LF.
ANSWER_START = re.compile(rb"\*|[^ ]* (?:OK|DATA|ERR)(?:[ \r\n]|\Z)")

# What a rejected line must begin with to be answered with its tag.
TAGGED = re.compile(rb"(%b)(?: |\r?\Z)" % _TAG)
# What a connection may begin with: a tag, or an empty line.
FIRST_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._\r\n")
# How a TLS record begins that carries an alert (RFC 8446 section 5.1): its type, and a version that
# begins with 3.
TLS_ALERT = b"\x15\x03"

# All arguments of a line are coded at once, in C, as text in which a byte is the character of its
# number. So two characters over %xFF can stand for the SP between arguments, and an empty argument.
_SEPARATOR, _EMPTY = "\u0100", "\u0101"
_ESCAPES = {byte: bytes((byte,)) if byte in PLAIN else b"%%%02X" % byte for byte in range(256)}
_ESCAPES |= {ord(_SEPARATOR): b" ", ord(_EMPTY): b'""'}


def decode_args(tokens: bytes) -> tuple[bytes, ...]:
    """Return the arguments in ``*(SP arg)``, which must match the grammar."""
    # A quote is always half of an empty argument.
    tokens = tokens.replace(b'""', b"")
    if b"%" not in tokens:
        return tuple(tokens.split(b" ")[1:])
    # An escape is one of Python's, once its % is a \x and no other backslash looks like one.
    tokens = tokens.replace(b"\\", rb"\\").replace(b" ", rb"\u0100").replace(b"%", rb"\x")
    _, *args = tokens.decode("unicode_escape").split(_SEPARATOR)
    return tuple([arg.encode("latin-1") for arg in args])


def encode_args(args: tuple[bytes, ...]) -> bytes:
    """Return the canonical form of arguments: joined by single SP, upper-case hex."""
    # Without the plain bytes only SPs remain: most arguments need no escape.
    joined = b" ".join(args)
    if len(joined.translate(None, PLAIN)) < len(args) and b"" not in args:
        return joined
    text = _SEPARATOR.join([arg.decode("latin-1") or _EMPTY for arg in args])
    return codecs.charmap_encode(text, "strict", _ESCAPES)[0]


def encode_text_args(args: Sequence[str]) -> bytes:
    """Return the canonical form of arguments that are text, in UTF-8; see `encode_args`.

    Raises:
        TypeError: one is not text.
    """
    joined = " ".join(args).encode()
    if len(joined.translate(None, PLAIN)) < len(args) and "" not in args:
        return joined
    return encode_args(tuple(map(str.encode, args)))


def encoded_size(args: tuple[bytes, ...]) -> int:
    """Return the length of `encode_args` in bytes, which is cheap even where that is long."""
    joined = b" ".join(args)
    escaped = len(joined.translate(None, PLAIN)) - max(0, len(args) - 1)
    return len(joined) + 2 * (escaped + args.count(b""))
