"""Starts a client for each case, serves it, and judges what it sends, prints and exits with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence

import trio

from esps_portal.conformance.case_values import CaseValues
from esps_portal.conformance.client_cases import ClientCase
from esps_portal.conformance.client_tcp import TcpServer
from esps_portal.conformance.client_udp import UdpServer
from esps_portal.conformance.outcome import MismatchError, Outcome, Verdict

# Clients that run at the same time; most of them wait for their interpreter to start.
_AT_ONCE = 4
# Times that a client is served a case over UDP which it breaks by a time: one that keeps to it may
# have had no turn for as long as the time is, or the kernel none to deliver what it has sent.
_ATTEMPTS = 3
_MAX_OUTPUT = 1 << 16  # bytes of what a client prints that are kept


async def run_client_cases(
    command: Sequence[str], cases: Sequence[ClientCase], on_outcome: Callable[[Outcome], None]
) -> None:
    """Run a client once for each case.

    Args:
        command: what to start.
        cases: what to serve.
        on_outcome: gets each outcome.
    """
    limiter = trio.CapacityLimiter(_AT_ONCE)

    async def run(case: ClientCase) -> None:
        async with limiter:
            on_outcome(await run_client_case(command, case))

    async with trio.open_nursery() as nursery:
        for case in cases:
            nursery.start_soon(run, case)


async def run_client_case(command: Sequence[str], case: ClientCase) -> Outcome:
    """Serve one case to a client that is started for it, and judge the client."""
    started = trio.current_time()
    mismatch, reason = None, ""
    try:
        await _judge_in_time(command, case)
        verdict = Verdict.PASS
    except MismatchError as error:
        mismatch = error
        verdict = Verdict.FAIL if case.vector.level == "must" else Verdict.WARN
    except OSError as error:
        verdict, reason = Verdict.ERROR, f"the client cannot be started: {error}"
    seconds = trio.current_time() - started
    return Outcome(case.vector.id, "whole", verdict, mismatch, reason, seconds=seconds)


async def _judge_in_time(command: Sequence[str], case: ClientCase) -> None:
    """Judge a client; one that has broken a time of UDP only if it does so each time."""
    attempts = _ATTEMPTS if case.vector.transport == "udp" else 1
    for attempt in range(1, attempts + 1):
        try:
            await _judge(command, case)
        except MismatchError as error:
            if error.kind != "time" or attempt == attempts:
                raise
        else:
            return


async def _judge(command: Sequence[str], case: ClientCase) -> None:
    values = CaseValues()
    server: TcpServer | UdpServer
    if case.vector.transport == "tcp":
        server = await TcpServer.open(case, values)
    else:
        server = await UdpServer.open(case, values)
    status, printed = await _run_client(command, case, server)
    server.finish()
    if server.fault is not None:
        raise server.fault
    if status is None:
        raise MismatchError("time", f"it ends within {case.seconds:g} s", came_text="it still runs")
    if not server.reached:
        raise MismatchError("line", "it connects", came_text="it has not connected")
    if case.asked and not server.asked:
        raise MismatchError("line", "a call: TAG CALL echo hi", came_text="it has not come")
    _judge_result(case, values, status, printed)


async def _run_client(
    command: Sequence[str], case: ClientCase, server: TcpServer | UdpServer
) -> tuple[int | None, bytes]:
    """Serve a client until it ends, or the verdict is known, or its time is over.

    Returns:
        Its exit status, `None` where it has not ended, and what it printed.
    """
    status, printed = None, b""
    try:
        process = await _start(command, case, server.url)
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                await server.run()
                nursery.cancel_scope.cancel()  # the verdict is known: the client need not end

            nursery.start_soon(serve)
            status, printed = await _until_ended(process, case.seconds)
            nursery.cancel_scope.cancel()
    finally:
        server.close()
    return status, printed


def _judge_result(case: ClientCase, values: CaseValues, status: int, printed: bytes) -> None:
    text = printed.decode("utf-8", "replace")
    if values.bad in text:
        raise MismatchError("line", "what is not a reply is not printed", printed)
    if case.result == "error":
        if values.word in text:
            raise MismatchError("line", "no reply is printed", printed)
        if status == 0:
            raise MismatchError("line", "an exit status that is not 0", came_text="exit status 0")
        return
    if values.word not in text.split():
        raise MismatchError("line", f"it prints {values.word}", printed, f"exit status {status}")
    if status != 0:
        raise MismatchError("line", "the exit status 0", came_text=f"exit status {status}")


async def _start(command: Sequence[str], case: ClientCase, url: str) -> trio.Process:
    return await trio.lowlevel.open_process(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "ESPS_PORTAL_URL": url, "ESPS_CONFORMANCE_CASE": case.vector.id},
    )


async def _until_ended(process: trio.Process, seconds: float) -> tuple[int | None, bytes]:
    """Return the exit status, `None` if it did not end in time, and what it printed."""
    assert process.stdout is not None  # noqa: S101 - for the type checker
    printed, status = bytearray(), None
    try:
        with trio.move_on_after(seconds):
            async for data in process.stdout:
                printed += data[: _MAX_OUTPUT - len(printed)]
            status = await process.wait()
    finally:
        if status is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()
    return status, bytes(printed)
