"""What the first line of a connection must be, so that no other protocol is mistaken for ESPS/1.

A browser, or a client of another protocol, can be made to send lines to any port. If the first line
is not a valid request, no later line may be executed: the connection ends.
"""

from __future__ import annotations

from esps_portal.protocol.messages import Request
from esps_portal.protocol.registry import VERBS, VERSION, unknown_verb_text
from esps_portal.protocol.verb_arguments import argument_error, chosen_version

#: The errors that end the connection if they answer its first line.
FATAL_AT_FIRST = frozenset({"bad-line", "too-long", "unknown-verb", "bad-arguments"})


def first_line_error(request: Request, *, requires_hello: bool) -> tuple[str, str] | None:
    """Return the code and the text of what is wrong with a request as the first line, if anything.

    Args:
        requires_hello: it must be a HELLO that offers a version that is supported.
    """
    verb, args = request.verb, request.args
    if verb not in VERBS:
        code, text = "unknown-verb", unknown_verb_text(verb)
    else:
        code, text = "bad-arguments", argument_error(verb, args)
    if requires_hello and (verb != b"HELLO" or text or not chosen_version(args)):
        return "bad-line", f"this server needs HELLO {VERSION.decode()} first"
    return (code, text) if text else None
