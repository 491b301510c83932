"""What has happened: ``/calls``, ``/exchanges``, ``/connections`` and ``/transcript``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from esps_portal.control.controls import ServerControls
from esps_portal.control.endpoint import EndpointRequest
from esps_portal.faults.matching import Match, Matchable
from esps_portal.journal.journal_json import (
    call_to_values,
    connection_to_values,
    exchange_to_values,
)
from esps_portal.journal.transcript import transcript_lines
from esps_portal.journal.values import ScenarioError, read_name
from esps_portal.mock.journal_search import exchanges_of


def list_calls(controls: ServerControls, request: EndpointRequest) -> Iterator[dict[str, Any]]:
    """Return the calls of a service, or all, in order."""
    service = request.query.get("service")
    return calls(controls, None if service is None else read_name(service, "service"))


def calls(controls: ServerControls, service: str | None) -> Iterator[dict[str, Any]]:
    """Return the calls of a service, or all, in order; a repeat over UDP does not count."""
    return map(call_to_values, controls.state.journal.calls_of(service))


def list_exchanges(controls: ServerControls, request: EndpointRequest) -> Iterator[dict[str, Any]]:
    """Return the exchanges whose request has a text in it, or all, in order."""
    text = request.query.get("match")
    match = None if text is None else match_of(text)
    return map(exchange_to_values, exchanges_of(controls.state.exchanges, match))


def match_of(value: Matchable) -> Match:
    """Return what finds a text, bytes or a regular expression in a request.

    Raises:
        ScenarioError: it is empty.
    """
    try:
        return Match.of("match", value)
    except ValueError as error:
        raise ScenarioError("match", str(error)) from error


def list_connections(controls: ServerControls, _: EndpointRequest) -> Iterator[dict[str, Any]]:
    """Return the TCP connections, in order."""
    return map(connection_to_values, list(controls.state.journal.connections))


def show_transcript(controls: ServerControls, _: EndpointRequest) -> Iterator[str]:
    """Return everything that happened as text, a line each: when, on which connection, what."""
    return transcript_lines(controls.state.journal)
