"""What a shell completes: services, which the portal is asked for, files, faults.

Whatever goes wrong completes nothing, and says nothing: a person is in the middle of a line.
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

# Seconds that a person waits for the shell to complete a word.
_PATIENCE = 0.5
# How a portal may have been named.
_GIVEN = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
# Selectors that a fault cannot have that comes before any request.
_OF_REQUESTS = ("service", "request", "when")


def complete_file(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Have the shell complete a file's name."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - for those who press TAB

    return [CompletionItem(incomplete, type="file")]


def complete_service(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the services of the portal that --url or ESPS_PORTAL_URL names."""
    url = ctx.params.get("url")
    if url is None and ctx.get_parameter_source("url") in _GIVEN:
        return []  # it names no portal
    from esps_portal.cli.options import DEFAULT_URL  # noqa: PLC0415 - options name completions

    names: list[str] = []
    # A thread, since looking a host up cannot be bounded; at the end nobody waits for it.
    asking = threading.Thread(target=_ask_services, args=(url or DEFAULT_URL, names), daemon=True)
    asking.start()
    asking.join(_PATIENCE)
    return _beginning_with(incomplete, list(names))


def _ask_services(url: str, names: list[str]) -> None:
    from esps_portal import blocking  # noqa: PLC0415 - for those who press TAB here

    try:
        with blocking.connect(url, timeout=_PATIENCE) as portal:
            offered = portal.services()
    except (EspsError, ValueError):
        return
    # The shell reads them: nothing else of a stranger's may reach it.
    names += [name for name in offered if grammar.NAME.fullmatch(name.encode())]


def complete_fault(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return names of faults; after a name, its parameters and selectors; after some, values."""
    from esps_portal.faults.fault_types import VOCABULARY  # noqa: PLC0415 - for --fault alone

    before, ___, last = incomplete.rpartition(" ")
    if not before:
        return _beginning_with(incomplete, VOCABULARY)
    name, *words = before.split()
    if name not in VOCABULARY:
        return []
    given = {word.partition("=")[0] for word in words}
    return [f"{before} {word}" for word in _beginning_with(last, _fault_words(name, given))]


def _fault_words(name: str, given: set[str]) -> Iterable[str]:
    """Return what may follow a fault's name; where there are few values, with each."""
    from esps_portal.faults.fault_types import SELECTORS, VOCABULARY  # noqa: PLC0415 - as above

    fault = VOCABULARY[name]
    values = {
        "when": ("before", "after") if fault.before else ("after",),
        "transport": sorted(fault.transports),
    }
    # Some name a parameter that is a selector as well: seed.
    for key in dict.fromkeys((*fault.parameters, *SELECTORS)):
        if key not in given and not (name == "accept-close" and key in _OF_REQUESTS):
            yield from (f"{key}={value}" for value in values.get(key, ("",)))


def _beginning_with(incomplete: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
