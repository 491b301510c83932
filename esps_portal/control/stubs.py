"""The stubs of a server: ``/stubs`` and ``/stubs/ID``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from esps_portal.control.controls import ServerControls, StubControls
from esps_portal.control.endpoint import EndpointRequest
from esps_portal.control.http_messages import HttpError, Reply


def list_stubs(controls: ServerControls, _: EndpointRequest) -> Iterator[dict[str, Any]]:
    """Return the stubs that are placed."""
    return _stubs_of(controls).all()


def place_stub(controls: ServerControls, request: EndpointRequest) -> Reply:
    """Place a stub."""
    return Reply(_stubs_of(controls).place(request.value), 201)


def remove_stub(controls: ServerControls, request: EndpointRequest) -> dict[str, Any]:
    """Remove a stub."""
    if not _stubs_of(controls).remove(request.name):
        raise HttpError(404, f"no stub has the ID {request.name[:40]!r}; a reset forgets them")
    return {}


def _stubs_of(controls: ServerControls) -> StubControls:
    assert controls.stubs is not None  # noqa: S101 - only servers with stubs have these endpoints
    return controls.stubs
