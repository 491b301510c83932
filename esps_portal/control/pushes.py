"""Has a peer send what no client has asked for: ``/push``."""

from __future__ import annotations

from typing import Any

from esps_portal.control.controls import ServerControls
from esps_portal.control.endpoint import EndpointRequest
from esps_portal.control.http_messages import HttpError
from esps_portal.framings.framing import FramingError
from esps_portal.journal.values import read_positive_integer
from esps_portal.mock.answer_chain import StubError
from esps_portal.mock.planned_peer import read_frames


def push(controls: ServerControls, request: EndpointRequest) -> dict[str, Any]:
    """Send frames on all connections that are open, or on one; return on how many."""
    table = request.table("frames", "connection")
    frames = table.required("frames", read_frames)
    if not frames:
        raise table.error("frames", "there is nothing to push: give a frame")
    connection = table.get("connection", read_positive_integer, None)
    assert controls.push is not None  # noqa: S101 - only what pushes has this endpoint
    try:
        return {"connections": controls.push(frames, connection)}
    except FramingError as error:
        raise table.error("frames", str(error)) from error
    except StubError as error:
        key = "" if connection is None else "connection"
        raise HttpError(409, str(error), key=key) from error
