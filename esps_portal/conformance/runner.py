"""Runs vectors against a server."""

from __future__ import annotations

from typing import Literal

import trio

from esps_portal.conformance.outcome import MismatchError, Outcome, UnsupportedError, Verdict
from esps_portal.conformance.steps import End, Pause, Vector
from esps_portal.conformance.target import Target
from esps_portal.conformance.tcp_session import TcpSession
from esps_portal.conformance.template import Run, UnknownValueError
from esps_portal.conformance.traffic import Traffic
from esps_portal.conformance.udp_session import UdpSession

#: Seconds to wait for what must come.
PATIENCE = 5.0


async def run_vector(
    vector: Vector, target: Target, *, bytewise: bool = False, patience: float = PATIENCE
) -> Outcome:
    """Run a vector once.

    Args:
        vector: what to run.
        target: the server.
        bytewise: send each byte alone (TCP).
        patience: seconds to wait for each thing that must come.
    """
    traffic, run = Traffic(vector.transport), Run(target.limits)
    session: TcpSession | UdpSession
    if vector.transport == "tcp":
        session = TcpSession(target, run, traffic, patience, bytewise)
    else:
        session = UdpSession(target, run, traffic, patience)
    form: Literal["whole", "bytewise"] = "bytewise" if bytewise else "whole"
    started, mismatch, reason = trio.current_time(), None, ""
    try:
        await _carry_out(vector, session)
        verdict = Verdict.PASS
    except MismatchError as error:
        mismatch = error
        verdict = Verdict.FAIL if vector.level == "must" else Verdict.WARN
    except UnsupportedError as error:
        verdict, reason = Verdict.UNSUPPORTED, str(error)
    except (OSError, trio.TooSlowError, UnknownValueError) as error:
        verdict, reason = Verdict.ERROR, f"{type(error).__name__}: {error}"
    finally:
        session.close()
    return Outcome(
        vector.id,
        form,
        verdict,
        mismatch,
        reason,
        session.closed(),
        _close_verdict(vector, verdict, mismatch),
        trio.current_time() - started,
        traffic,
    )


async def _carry_out(vector: Vector, session: TcpSession | UdpSession) -> None:
    for step in vector.steps:
        if isinstance(step, Pause):
            await trio.sleep(step.seconds)
        else:
            await session.carry_out(step)
    await session.finish()


def _close_verdict(
    vector: Vector, verdict: Verdict, mismatch: MismatchError | None
) -> Verdict | None:
    """Return the verdict on how the connection was closed, where the vector asks for it."""
    if not any(isinstance(step, End) for step in vector.steps):
        return None
    if mismatch is not None and mismatch.kind != "close":
        return None  # another failure came first
    return verdict
