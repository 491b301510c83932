"""Adds our probes to a file of nmap's, which cannot just be appended.

nmap ends with a failed assertion if a file has two NULL probes (``Probe TCP NULL``). So the matches
of ours go below that line of the other file, where they are tried first; the other probes go to its
end.
"""

from __future__ import annotations

import re

_NULL_PROBE = re.compile(rb"^Probe TCP NULL q\|\|.*\n", re.MULTILINE)
_PROBE = re.compile(rb"^(?=Probe )", re.MULTILINE)
_PROBE_NAME = re.compile(rb"Probe (?:TCP|UDP) (\w+)")
_MATCH = re.compile(rb"^(?:soft)?match .*\n", re.MULTILINE)


class CannotMergeError(Exception):
    """The other file is none of nmap's, or has these probes already."""


def merge_probes(ours: bytes, theirs: bytes) -> bytes:
    """Return the other file with our matches and probes added; nothing of it is lost.

    Args:
        ours: the file of this package.
        theirs: a file ``nmap-service-probes``.

    Raises:
        CannotMergeError: see there.
    """
    place = _NULL_PROBE.search(theirs)
    if place is None:
        raise CannotMergeError("no line 'Probe TCP NULL q||': it is not an nmap-service-probes")
    _, null_probe, *others = _PROBE.split(ours)
    names = {_name(probe) for probe in others}
    if any(name == _name(probe) for probe in _PROBE.split(theirs)[1:] for name in names):
        raise CannotMergeError("it has these probes already")
    matches = b"".join(_MATCH.findall(null_probe))
    ending = b"" if theirs.endswith(b"\n") else b"\n"
    after = place.end()
    return theirs[:after] + b"\n" + matches + theirs[after:] + ending + b"\n" + b"".join(others)


def _name(probe: bytes) -> bytes:
    found = _PROBE_NAME.match(probe)
    return found[1] if found else b""
