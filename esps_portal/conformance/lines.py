"""Checks the form of a server's line: a reply or a notice, in canonical form (sections 3 and 4)."""

from __future__ import annotations

import re

# An argument: "" is the empty one; an octet is plain or escaped, and never escaped needlessly.
_ARGUMENT = re.compile(rb'""|(?:[!$&-~]|%[0-9A-F]{2})+')
_NEEDLESS = re.compile(rb"%(?:2[146-9A-F]|[3-6][0-9A-F]|7[0-9A-E])")
_HEAD = re.compile(
    rb"[A-Za-z0-9._-]{1,32} (?:OK|DATA|ERR [a-z][a-z0-9._-]{0,63})|\* (?:ESPS/1|ERR|BYE)"
)


def fault_of(line: bytes) -> str:
    """Return which requirement the form of a line breaks; empty if it has the right form.

    Args:
        line: without its LF.
    """
    if b"\r" in line:
        return "ESPS-LINE-2"
    head = _HEAD.match(line)
    if head is None or line[head.end() : head.end() + 1] not in (b"", b" "):
        return "ESPS-LINE-12"
    for argument in line[head.end() :].split(b" ")[1:]:
        fault = _fault_of_argument(argument)
        if fault:
            return fault
    return ""


def _fault_of_argument(argument: bytes) -> str:
    if not argument:
        return "ESPS-LINE-8"
    if argument.startswith(b"#"):
        return "ESPS-MSG-9"
    if not _ARGUMENT.fullmatch(argument):
        return "ESPS-ARG-4" if re.search(rb"%[0-9A-F]?[a-f]", argument) else "ESPS-ARG-2"
    return "ESPS-ARG-3" if _NEEDLESS.search(argument) else ""
