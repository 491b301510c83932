"""Checks the arguments of a verb: their number, and the form that the grammar requires.

This is the check `bad-arguments` of a verb (specification, section 5). The arguments of services
are not known here.
"""

from __future__ import annotations

import re

from esps_portal.protocol import grammar
from esps_portal.protocol.registry import VERBS, VERSIONS

_NOT_A_NAME = "a service has a name: a-z, then up to 63 of a-z 0-9 - . _"
_NOT_A_TAG = "CANCEL needs a tag"
_NOT_A_VERSION = "HELLO needs versions: ESPS/1"

# How many of the arguments must have a form, the form, and the error text otherwise.
_FORMS: dict[bytes, tuple[int | None, re.Pattern[bytes], str]] = {
    b"HELLO": (None, grammar.VERSION, _NOT_A_VERSION),
    b"CALL": (1, grammar.NAME, _NOT_A_NAME),
    b"CANCEL": (1, grammar.TAG, _NOT_A_TAG),
}


def argument_error(verb: bytes, args: tuple[bytes, ...]) -> str:
    """Return the text of a ``bad-arguments`` for a known verb; empty: its arguments are good.

    Example: ``argument_error(b"LIST", (b"a", b"b"))`` is ``"LIST takes at most 1 argument"``.
    """
    entry = VERBS[verb]
    if len(args) < entry.min_args:
        return f"{verb.decode()} needs {_arguments(entry.min_args)}"
    if entry.max_args is not None and len(args) > entry.max_args:
        return f"{verb.decode()} takes at most {_arguments(entry.max_args)}"
    if verb in _FORMS:
        count, form, text = _FORMS[verb]
        if not all(map(form.fullmatch, args[:count])):
            return text
    return ""


def chosen_version(offered: tuple[bytes, ...]) -> bytes | None:
    """Return the first of the offered versions that is supported, if one is.

    Example: ``chosen_version((b"ESPS/2", b"ESPS/1"))`` is ``b"ESPS/1"``
    """
    return next((version for version in offered if version in VERSIONS), None)


def _arguments(count: int) -> str:
    return f"{count} argument{'s' * (count != 1)}"
