"""Runs vectors against a server, at the same time where they allow it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import trio

from esps_portal.conformance.outcome import MismatchError, Outcome, UnsupportedError, Verdict
from esps_portal.conformance.plan import Case
from esps_portal.conformance.steps import End, Pause, Vector
from esps_portal.conformance.target import Target
from esps_portal.conformance.tcp_session import TcpSession
from esps_portal.conformance.template import Run, UnknownValueError
from esps_portal.conformance.traffic import Traffic
from esps_portal.conformance.udp_session import UdpSession

#: Seconds to wait for what must come.
REPLY_TIMEOUT = 5.0
#: Vectors that run at the same time: few enough for a slow server to answer each in time.
PARALLEL = 8


async def run_cases(
    chosen: Sequence[Case],
    target: Target,
    on_outcome: Callable[[Outcome], None],
    reply_timeout: float,
) -> None:
    """Run vectors, and report the outcome of each as soon as it is known.

    Args:
        chosen: the vectors; none that the server does not support.
        target: the server.
        on_outcome: gets each outcome.
        reply_timeout: seconds to wait for each thing that must come.
    """
    beside = trio.CapacityLimiter(PARALLEL)

    async def run(case: Case) -> None:
        bytewise = case.form == "bytewise"
        on_outcome(
            await run_vector(case.vector, target, bytewise=bytewise, reply_timeout=reply_timeout)
        )

    async def run_beside(case: Case) -> None:
        async with beside:
            await run(case)

    async with trio.open_nursery() as nursery:
        for case in chosen:
            if not case.vector.alone:
                nursery.start_soon(run_beside, case)
    for case in chosen:
        if case.vector.alone:
            await run(case)


async def run_vector(
    vector: Vector, target: Target, *, bytewise: bool = False, reply_timeout: float = REPLY_TIMEOUT
) -> Outcome:
    """Run a vector once.

    Args:
        vector: what to run.
        target: the server.
        bytewise: send each byte alone (TCP).
        reply_timeout: seconds to wait for each thing that must come.
    """
    session = _session(vector, target, reply_timeout, bytewise=bytewise)
    form: Literal["whole", "bytewise"] = "bytewise" if bytewise else "whole"
    started, mismatch, reason = trio.current_time(), None, ""
    try:
        await _carry_out(vector, session)
        verdict = Verdict.PASS
    except MismatchError as error:
        # Without its traceback, which holds the session, with all that the server has sent.
        mismatch = MismatchError(*error.args)
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
        session.traffic,
    )


def _session(
    vector: Vector, target: Target, reply_timeout: float, *, bytewise: bool
) -> TcpSession | UdpSession:
    traffic, run = Traffic(vector.transport, target.address[:2]), Run(target.limits)
    if vector.transport == "tcp":
        return TcpSession(target, run, traffic, reply_timeout, bytewise)
    return UdpSession(target, run, traffic, reply_timeout)


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
