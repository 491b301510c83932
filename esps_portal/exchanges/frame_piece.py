"""A whole frame, as faults see it."""

from __future__ import annotations

from esps_portal.faults.effects import Piece
from esps_portal.framings.framing import Frame


def piece_of(frame: Frame) -> Piece:
    """Return a frame that is a unit; what follows its payload only ends it."""
    has_terminator = frame.wire.startswith(frame.payload)
    return Piece(
        frame.wire,
        is_frame=True,
        ends_frame=True,
        ends_unit=True,
        terminator=len(frame.wire) - len(frame.payload) if has_terminator else 0,
    )
