"""What a shell completes: services (which the portal lists), files, faults.

An error completes nothing and prints nothing: the user is in the middle of typing a line.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from esps_portal.protocol import grammar
from esps_portal.protocol.errors import EspsError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# Seconds to wait for a portal while the user waits for the shell.
_TIMEOUT = 0.5
# Names of framings for streams.
_FRAMINGS = (
    *("lines:lf", "lines:crlf", "lines:cr", "delimited:", "length-prefixed:", "fixed:"),
    *("length-prefixed:varint", "until-close", "matching:"),
)
# The sources of a parameter whose value names a portal explicitly.
_EXPLICIT = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


def complete_file(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Have the shell complete a file name."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - only for completion

    return [CompletionItem(incomplete, type="file")]


def complete_service(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the services of the portal in --url or ESPS_PORTAL_URL, trusted as --cafile says."""
    url = ctx.params.get("url")
    if url is None and ctx.get_parameter_source("url") in _EXPLICIT:
        return []  # not a portal's address
    from esps_portal.cli.options import DEFAULT_URL  # noqa: PLC0415 - options imports completions

    names: list[str] = []
    # In a daemon thread: resolving a host has no timeout.
    request = threading.Thread(
        target=_add_services,
        args=(str(url or DEFAULT_URL), ctx.params.get("cafile"), names),
        daemon=True,
    )
    request.start()
    request.join(_TIMEOUT)
    return _starting_with(incomplete, list(names))


def _add_services(url: str, cafile: str | None, names: list[str]) -> None:
    from esps_portal import blocking  # noqa: PLC0415 - only for completion

    try:
        with blocking.connect(url, timeout=_TIMEOUT, cafile=cafile) as portal:
            services = portal.services()
    except (EspsError, ValueError):
        return
    # The shell evaluates them, and the peer is not trusted.
    names += [name for name in services if grammar.NAME.fullmatch(name.encode())]


def complete_framing(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return names of framings; what follows the colon of most is the user's."""
    of_datagrams = ("datagrams",) if ctx.info_name == "peer" else ()
    return _starting_with(incomplete, (*_FRAMINGS, *of_datagrams))


def complete_fault(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return names of faults; after a name its keys; after some keys their values."""
    from esps_portal.faults.fault_types import FAULT_TYPES  # noqa: PLC0415 - only for --fault

    before, __, last = incomplete.rpartition(" ")
    if not before:
        return _starting_with(incomplete, FAULT_TYPES)
    name, *pairs = before.split()
    if name not in FAULT_TYPES:
        return []
    given = {pair.partition("=")[0] for pair in pairs}
    keys = _fault_keys(name, is_proxy=ctx.info_name == "proxy")
    words = (word for word in keys if word.partition("=")[0] not in given)
    return [f"{before} {word}" for word in _starting_with(last, words)]


def _fault_keys(name: str, *, is_proxy: bool) -> Iterable[str]:
    """Return ``key=`` for each key of a fault; if it has few values, ``key=value`` for each."""
    from esps_portal.faults.fault_types import FAULT_TYPES  # noqa: PLC0415 - as above
    from esps_portal.faults.selectors import OF_CONNECTIONS  # noqa: PLC0415 - the same

    fault = FAULT_TYPES[name]
    values = {
        "when": ("before", "after") if fault.allows_before else ("after",),
        "transport": sorted(fault.transports),
        "unit": ("connection",),
        # Only a proxy has a server.
        "to": ("client", "server") if is_proxy and name != "deaf" else (),
        "match": ("", "re:", "hex:"),
        "reply_match": ("", "re:", "hex:"),
    }
    if "tcp" not in fault.transports:
        values |= dict.fromkeys(OF_CONNECTIONS, ())
        # The same: a portal knows no connections over UDP.
        values |= {} if is_proxy else {"age": ()}
    # A parameter may have the name of a selector: seed.
    for key in dict.fromkeys((*fault.parameters, *fault.selectors)):
        yield from (f"{key}={value}" for value in values.get(key, ("",)))


def _starting_with(incomplete: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
