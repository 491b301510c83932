"""One line to one message, and back.

A message is a value; what it means in a conversation is decided elsewhere. Arguments are octet
strings, decoded. Encoders emit the canonical form and LF alone; the ``_untrusted`` parsers take
a line without its LF and raise nothing but `ProtocolError`.
"""

from __future__ import annotations

from typing import overload

import attrs

from esps_portal.protocol import grammar
from esps_portal.protocol.errors import ProtocolError
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_match_plain_request = grammar.PLAIN_REQUEST.fullmatch
_match_request = grammar.REQUEST.fullmatch
_match_reply = grammar.REPLY.fullmatch
_match_notice = grammar.NOTICE.fullmatch

_SPACE, _LAST_VISIBLE = 0x20, 0x7E

OK = b"OK"
DATA = b"DATA"
ERR = b"ERR"
_REPLIES = frozenset({OK, DATA, ERR})
_NOTICES = frozenset({b"ESPS/1", ERR, b"BYE"})


@attrs.define
class Request:
    """What a client asks: a verb and its arguments, under a tag that the client chose.

    Attributes:
        plain: it was seen that no argument needs an escape; false where nobody has looked.
    """

    tag: bytes
    verb: bytes
    args: tuple[bytes, ...] = ()
    plain: bool = attrs.field(default=False, eq=False, repr=False)

    def encode(self, length: int = 0) -> bytes:
        """Return the line, padded to at least ``length`` bytes (UDP: makes room for a reply).

        Padding is SP and at least one ``#``: the least that it adds is two bytes.
        """
        line = _join(self.tag, self.verb, self.args)
        missing = length - len(line) - 1
        if missing > 0:
            return line + b" " + b"#" * max(1, missing - 1) + b"\n"
        return line + b"\n"


@attrs.define
class Reply:
    """What a portal answers under the tag of a request: ``OK``, ``DATA``, or ``ERR`` and a code.

    Attributes:
        plain: as that of the request, whose arguments these are.
    """

    tag: bytes
    kind: bytes
    args: tuple[bytes, ...] = ()
    plain: bool = attrs.field(default=False, eq=False, repr=False)

    def encode(self) -> bytes:
        """Return the line."""
        # Every answer of a portal passes here, so the common cases come first: no arguments, then
        # arguments that need no escape and are not empty: but for PLAIN there are only SPs.
        args = self.args
        if not args:
            return b"%b %b\n" % (self.tag, self.kind)
        joined = b" ".join(args)
        if not self.plain and (
            len(joined.translate(None, grammar.PLAIN)) >= len(args) or b"" in args
        ):
            joined = grammar.encode_args(args)
        return b"%b %b %b\n" % (self.tag, self.kind, joined)

    def without_text(self, machine_arguments: int = 0) -> Reply:
        """Return this refusal without the words for a person: the code and what a machine reads."""
        return Reply(self.tag, self.kind, self.args[: 1 + machine_arguments])


@attrs.define
class Notice:
    """What a server says under no tag: its greeting, an error without a tag, its goodbye."""

    word: bytes
    args: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """Return the line."""
        return _join(b"*", self.word, self.args) + b"\n"


def _join(first: bytes, second: bytes, args: tuple[bytes, ...]) -> bytes:
    if args:
        return b"%b %b %b" % (first, second, grammar.encode_args(args))
    return b"%b %b" % (first, second)


@overload
def error_reply(tag: bytes, code: str, *words: str | bytes) -> Reply: ...


@overload
def error_reply(tag: None, code: str, *words: str | bytes) -> Notice: ...


@overload
def error_reply(tag: bytes | None, code: str, *words: str | bytes) -> Reply | Notice: ...


def error_reply(tag: bytes | None, code: str, *words: str | bytes) -> Reply | Notice:
    """Return ``TAG ERR code words``, or ``* ERR code words`` where no tag could be read."""
    args = (code.encode(), *(w.encode() if isinstance(w, str) else w for w in words))
    return Notice(ERR, args) if tag is None else Reply(tag, ERR, args)


def parse_request_untrusted(line: bytes) -> Request:
    """Return the request in ``line``, which is without its LF and may end in its one CR.

    Raises:
        ProtocolError: ``bad-line``, and why.
    """
    match = _match_plain_request(line)
    if match is not None:
        tag, verb, tokens = match.groups()
        return Request(tag, verb, tuple(tokens.split(b" ")) if tokens else (), True)  # noqa: FBT003 - a keyword is slower
    match = _match_request(line)
    if match is None:
        raise ProtocolError("bad-line", _what_is_wrong(line))
    tag, verb, tokens = match.groups()
    return Request(tag, verb, grammar.decode_args(tokens))


def readable_request(line: bytes) -> Request | None:
    """Return the request in ``line``, or ``None`` if it is not one."""
    try:
        return parse_request_untrusted(line)
    except ProtocolError:
        return None


def parse_answer_untrusted(line: bytes) -> Reply | Notice:
    """Return the reply or the notice in ``line``, which is without its LF.

    Raises:
        ProtocolError: ``bad-line``: no portal that keeps to ESPS/1 sends it.
    """
    match = _match_reply(line)
    if match is not None:
        return Reply(match[1], match[2], grammar.decode_args(match[3]))
    match = _match_notice(line)
    if match is None:
        raise ProtocolError("bad-line", _what_is_wrong_with_answer(line))
    return Notice(match[1], grammar.decode_args(match[2]))


def readable_tag(line: bytes) -> bytes | None:
    """Return the tag that a rejected line begins with (``tag SP``, or exactly ``tag``), if any."""
    match = grammar.TAGGED.match(line)
    return match[1] if match else None


def looks_like_answer(line: bytes) -> bool:
    """Whether ``line``, whole or not, begins as a reply or a notice does: it is never answered."""
    return grammar.ANSWER_START.match(line) is not None


def _what_is_wrong(line: bytes) -> str:
    text = line.removesuffix(b"\r")
    return _what_is_wrong_with_octets(text) or _what_is_wrong_with_request(text)


def _what_is_wrong_with_octets(text: bytes) -> str:
    """Return what no message may have; empty where it has none of that."""
    if max(text, default=0) > _LAST_VISIBLE:
        return "a byte over 0x7E: escape it as %XX"
    if b"\r" in text:
        return "a CR that is not right before the LF"
    if min(text, default=_SPACE) < _SPACE:
        return "a control byte: escape it as %XX"
    if text.startswith(b" ") or text.endswith(b" ") or b"  " in text:
        return "one SP between tokens, none at the ends"
    return ""


def _what_is_wrong_with_request(text: bytes) -> str:
    if readable_tag(text) is None:
        return "it must begin with a tag: 1 to 32 of A-Z a-z 0-9 - . _"
    verb, _, args = text.partition(b" ")[2].partition(b" ")
    if not grammar.VERB.fullmatch(verb):
        return "after the tag comes a verb: 1 to 16 letters"
    return _what_is_wrong_with_args(args)


def _what_is_wrong_with_answer(line: bytes) -> str:
    text = line.removesuffix(b"\r")
    wrong = _what_is_wrong_with_octets(text)
    if wrong:
        return wrong
    kind, _, args = text.partition(b" ")[2].partition(b" ")
    if text.startswith(b"*"):
        if kind not in _NOTICES:
            return "after the * comes ESPS/1, ERR or BYE"
    elif readable_tag(text) is None or kind not in _REPLIES:
        return "it is not a reply: TAG OK, TAG DATA or TAG ERR"
    elif kind == ERR and not grammar.NAME.fullmatch(args.partition(b" ")[0]):
        return "after ERR comes a code: a-z, then up to 63 of a-z 0-9 - . _"
    return _what_is_wrong_with_args(args)


def _what_is_wrong_with_args(args: bytes) -> str:
    if b'"' in args:
        return 'a quote stands only in "", the empty argument: escape it as %22'
    if b"#" in args:
        return "# stands only in the padding at the end: escape it as %23"
    return "a % must be followed by two hex digits"
