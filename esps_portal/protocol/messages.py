"""Requests, replies and notices, each parsed from one line and encoded as one.

A message is a value; what it does to a connection is decided elsewhere. Arguments are decoded
bytes. Encoders emit the canonical form and a single LF. The ``_untrusted`` parsers take a line
without its LF and raise nothing but `ProtocolError`.
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
REPLY_KINDS = frozenset({OK, DATA, ERR})
_NOTICE_WORDS = frozenset({b"ESPS/1", ERR, b"BYE"})


@attrs.define
class Request:
    """What a client sends: a verb and its arguments, under a tag that the client chose.

    Attributes:
        plain: whether it is known that no argument needs an escape.
        length: of the line that it was read from, in bytes, with its padding and its LF; 0: it was
            read from none.
    """

    tag: bytes
    verb: bytes
    args: tuple[bytes, ...] = ()
    plain: bool = attrs.field(default=False, eq=False, repr=False)
    length: int = attrs.field(default=0, eq=False, repr=False)

    def encode(self) -> bytes:
        """Return the line."""
        if self.args:
            return b"%b %b %b\n" % (self.tag, self.verb, grammar.encode_args(self.args))
        return b"%b %b\n" % (self.tag, self.verb)

    @property
    def size(self) -> int:
        """The length of the line without padding, in bytes, without making it."""
        return _size(self.tag, self.verb, self.args)

    @property
    def service(self) -> bytes | None:
        """The name of the service that it calls; ``None``: it calls none."""
        return self.args[0] if self.verb == b"CALL" and self.args else None


def padded(line: bytes, length: int) -> bytes:
    """Return the line of a request, ``length`` bytes long, to make room for a UDP reply.

    Padding is SP and at least one ``#``, so it adds two bytes or more.
    """
    missing = length - len(line)
    if missing <= 0:
        return line
    return b"%b %b\n" % (line[:-1], b"#" * max(1, missing - 1))


@attrs.define
class Reply:
    """A line that answers a request, under its tag.

    Attributes:
        kind: ``OK`` or ``ERR`` (final), or ``DATA``.
        args: of an ``ERR`` the code first.
        plain: whether it is known that no argument needs an escape.
    """

    tag: bytes
    kind: bytes
    args: tuple[bytes, ...] = ()
    plain: bool = attrs.field(default=False, eq=False, repr=False)

    def encode(self) -> bytes:
        """Return the line."""
        # Every reply of a portal is made here, so the common cases come first.
        args = self.args
        if not args:
            return b"%b %b\n" % (self.tag, self.kind)
        encoded = b" ".join(args) if self.plain else grammar.encode_args(args)
        return b"%b %b %b\n" % (self.tag, self.kind, encoded)

    @property
    def size(self) -> int:
        """The length of the line in bytes, without making it."""
        return _size(self.tag, self.kind, self.args)

    def without_text(self, machine_arguments: int = 0) -> Reply:
        """Return this error without its text for a person: the code and the machine arguments."""
        return Reply(self.tag, self.kind, self.args[: 1 + machine_arguments])


@attrs.define
class Notice:
    """A line without a tag: the greeting (``ESPS/1``), an error (``ERR``), or a ``BYE``."""

    word: bytes
    args: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """Return the line."""
        if self.args:
            return b"* %b %b\n" % (self.word, grammar.encode_args(self.args))
        return b"* %b\n" % self.word

    @property
    def size(self) -> int:
        """The length of the line in bytes, without making it."""
        return _size(b"*", self.word, self.args)

    @property
    def tag_in_use(self) -> bytes | None:
        """The tag that an ``ERR tag-in-use`` is about; ``None``: it is another notice."""
        if self.word == ERR and self.args[:1] == (b"tag-in-use",) and len(self.args) > 1:
            return self.args[1]
        return None


#: The last line of a server that ends or refuses a connection by itself.
BYE_BUSY = Notice(b"BYE", (b"busy",))
BYE_CLOSING = Notice(b"BYE", (b"closing",))
BYE_IDLE = Notice(b"BYE", (b"idle",))
#: What a server with TLS sends in plain text to a client that speaks no TLS.
EXPECTS_TLS = Notice(ERR, (b"bad-line", b"this listener expects TLS"))


def _size(first: bytes, second: bytes, args: tuple[bytes, ...]) -> int:
    spaces = 2 if args else 1
    return len(first) + len(second) + grammar.encoded_size(args) + spaces + len(b"\n")


@overload
def error_reply(tag: bytes, code: str, *text: str | bytes) -> Reply: ...


@overload
def error_reply(tag: None, code: str, *text: str | bytes) -> Notice: ...


@overload
def error_reply(tag: bytes | None, code: str, *text: str | bytes) -> Reply | Notice: ...


def error_reply(tag: bytes | None, code: str, *text: str | bytes) -> Reply | Notice:
    """Return ``TAG ERR code text``, or ``* ERR code text`` without a tag.

    Args:
        text: the machine arguments of the code, if it has any, then the text for a person.
    """
    args = (code.encode(), *(t.encode() if isinstance(t, str) else t for t in text))
    return Notice(ERR, args) if tag is None else Reply(tag, ERR, args)


def parse_request_untrusted(line: bytes) -> Request:
    """Return the request in ``line``, which has no LF and may end in one CR.

    Raises:
        ProtocolError: ``bad-line``; the message says why.
    """
    match = _match_plain_request(line)
    if match is not None:
        tag, verb, tokens = match.groups()
        args = tuple(tokens.split(b" ")) if tokens else ()
        return Request(tag, verb, args, True, len(line) + 1)  # noqa: FBT003 - a keyword is slower
    match = _match_request(line)
    if match is None:
        raise ProtocolError("bad-line", _diagnose_request(line))
    tag, verb, tokens = match.groups()
    return Request(tag, verb, grammar.decode_args(tokens), length=len(line) + 1)


def readable_request(line: bytes) -> Request | None:
    """Return the request in ``line``, or ``None`` if it is not one."""
    try:
        return parse_request_untrusted(line)
    except ProtocolError:
        return None


def parse_answer_untrusted(line: bytes) -> Reply | Notice:
    """Return the reply or the notice in ``line``, which has no LF.

    Raises:
        ProtocolError: ``bad-line``; the message says why.
    """
    match = _match_reply(line)
    if match is not None:
        return Reply(match[1], match[2], grammar.decode_args(match[3]))
    match = _match_notice(line)
    if match is None:
        raise ProtocolError("bad-line", _diagnose_answer(line))
    return Notice(match[1], grammar.decode_args(match[2]))


def readable_tag(line: bytes) -> bytes | None:
    """Return the tag of a rejected line, if it begins with ``tag SP`` or is exactly a tag."""
    match = grammar.TAGGED.match(line)
    return match[1] if match else None


def looks_like_answer(line: bytes) -> bool:
    """Whether ``line``, complete or not, begins like a reply or a notice; UDP never answers it."""
    return grammar.ANSWER_START.match(line) is not None


def _diagnose_request(line: bytes) -> str:
    text = line.removesuffix(b"\r")
    return _diagnose_bytes(text) or _diagnose_tokens(text)


def _diagnose_bytes(text: bytes) -> str:
    """Return what is wrong with a line that is not a message, as far as single bytes tell."""
    if max(text, default=0) > _LAST_VISIBLE:
        return "a byte over 0x7E: escape it as %XX"
    if b"\r" in text:
        return "a CR is allowed only directly before the LF"
    if min(text, default=_SPACE) < _SPACE:
        return "a control byte: escape it as %XX"
    if text.startswith(b" ") or text.endswith(b" ") or b"  " in text:
        return "one SP between tokens, none at the ends"
    return ""


def _diagnose_tokens(text: bytes) -> str:
    if readable_tag(text) is None:
        return "it must begin with a tag: 1 to 32 of A-Z a-z 0-9 - . _"
    verb, _, args = text.partition(b" ")[2].partition(b" ")
    if not grammar.VERB.fullmatch(verb):
        return "after the tag comes a verb: 1 to 16 letters"
    return _diagnose_args(args)


def _diagnose_answer(line: bytes) -> str:
    text = line.removesuffix(b"\r")
    error = _diagnose_bytes(text)
    if error:
        return error
    kind, _, args = text.partition(b" ")[2].partition(b" ")
    if text.startswith(b"*"):
        if kind not in _NOTICE_WORDS:
            return "after the * comes ESPS/1, ERR or BYE"
    elif readable_tag(text) is None or kind not in REPLY_KINDS:
        return "it is not a reply: TAG OK, TAG DATA or TAG ERR"
    elif kind == ERR and not grammar.NAME.fullmatch(args.partition(b" ")[0]):
        return "after ERR comes a code: a-z, then up to 63 of a-z 0-9 - . _"
    return _diagnose_args(args)


def _diagnose_args(args: bytes) -> str:
    # The first bad one: others may have what is allowed, such as "" and padding.
    bad = args[grammar.GOOD_ARGS.match(args).end() :].partition(b" ")[0]  # type: ignore[union-attr]
    if b'"' in bad:
        return 'a quote is allowed only in "", the empty argument: escape it as %22'
    if b"#" in bad:
        return "# is allowed only as padding at the end of a request: escape it as %23"
    return "a % must be followed by two hex digits"
