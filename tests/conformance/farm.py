"""Many tiny servers, each a process of its own, started in a few milliseconds.

One process (`python -m tests.conformance.farm`) has imported everything; it reads one JSON object a
line, and forks for each server. A thread could not take SIGTERM, nor be ended while it hangs.

- `{"start": ID, "edits": [[old, new]…], "limits": {…}}`: answered by the new process with
  `{"id": ID, "pid": …, "port": …}`, or with `error`.
- `{"stop": ID}`: that process is killed.
"""

import asyncio
import contextlib
import functools
import gc
import json
import os
import signal
import socket
import sys
import traceback
import types
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from esps_portal.conformance.target import Target
from tests.conformance.tiny_server import LIMITS
from tests.patience import PATIENCE

SOURCE = Path(__file__).with_name("tiny_server.py")

#: Old text and new text; the old one occurs exactly once.
Edit = tuple[str, str]


def edited(source: str, edits: Sequence[Edit]) -> str:
    """Return a source with each edit applied.

    Raises:
        ValueError: the old text of an edit does not occur exactly once.
    """
    for old, new in edits:
        found = source.count(old)
        if found != 1:
            raise ValueError(f"{found} times in tiny_server.py: {old!r}")
        source = source.replace(old, new)
    return source


# ---- the process that forks --------------------------------------------------------------------


def main() -> None:
    source, processes = SOURCE.read_text(encoding="utf-8"), dict[int, int]()
    gc.freeze()  # what is imported stays; a child need not look through it
    for line in sys.stdin:
        command = json.loads(line)
        if "stop" in command:
            process = processes.pop(command["stop"])
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            continue
        with contextlib.suppress(Exception):  # the child reports it
            compiled(source, json.dumps(command["edits"]))
        process = os.fork()
        if process == 0:
            serve(source, command)
        processes[command["start"]] = process


@functools.cache
def compiled(source: str, edits: str) -> types.CodeType:
    """Compile a source with edits, in JSON; once, since many vectors run against one mutant."""
    return compile(edited(source, json.loads(edits)), str(SOURCE), "exec")


def serve(source: str, command: Mapping[str, Any]) -> None:
    """Serve in this process, and end it."""
    try:
        # When the farm ends, so do its servers: stdin is the only thing that they share with it.
        module = types.ModuleType("tiny_server")
        sys.modules["tiny_server"] = module  # dataclasses look there
        exec(compiled(source, json.dumps(command["edits"])), vars(module))  # noqa: S102
        server = module.Server(command["limits"])
        asyncio.run(run(server, command["start"], module.SIGNALS))
    except BaseException:  # noqa: BLE001 - a mutant may fail in any way; it must not go on here
        answer({"id": command["start"], "error": traceback.format_exc(limit=-3)})
        os._exit(1)
    os._exit(0)


async def run(server: Any, number: int, signals: Sequence[signal.Signals]) -> None:  # noqa: ANN401
    loop, terminated = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(lambda *_: None)
    for each in signals:
        loop.add_signal_handler(each, terminated.set)
    server.start("127.0.0.1", 0)
    answer({"id": number, "pid": os.getpid(), "port": server.port})
    await terminated.wait()
    await server.shut_down()


def answer(value: Mapping[str, Any]) -> None:
    os.write(1, json.dumps(value).encode() + b"\n")


# ---- the test's side ---------------------------------------------------------------------------


@attrs.define(eq=False)
class Farm:
    """Starts servers."""

    _process: trio.Process
    _waiting: dict[int, tuple[trio.Event, list[Mapping[str, Any]]]] = attrs.field(factory=dict)
    _number: int = 0
    _sending: trio.Lock = attrs.field(factory=trio.Lock)

    @asynccontextmanager
    async def server(
        self, edits: Sequence[Edit] = (), limits: Mapping[str, float] | None = None
    ) -> AsyncIterator[Target]:
        """A server with these edits and limits, for as long as the block runs.

        Raises:
            RuntimeError: it does not start.
        """
        self._number += 1
        number, event, answers = self._number, trio.Event(), list[Mapping[str, Any]]()
        self._waiting[number] = event, answers
        await self._say({"start": number, "edits": list(edits), "limits": dict(limits or {})})
        try:
            with trio.fail_after(PATIENCE):
                await event.wait()
            if "error" in answers[0]:
                raise RuntimeError(answers[0]["error"])
            address, transports = ("127.0.0.1", answers[0]["port"]), frozenset({"tcp", "udp"})
            in_force = {**LIMITS, **(limits or {})}
            yield Target(socket.AF_INET, address, transports, in_force, answers[0]["pid"])
        finally:
            with trio.CancelScope(shield=True):
                await self._say({"stop": number})

    async def _say(self, command: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        async with self._sending:
            await self._process.stdin.send_all(json.dumps(command).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        unread = b""
        async for data in self._process.stdout:
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                value = json.loads(line)
                event, answers = self._waiting[value["id"]]
                answers.append(value)
                event.set()


@asynccontextmanager
async def open_farm() -> AsyncIterator[Farm]:
    """A farm, for as long as the block runs."""
    command = [sys.executable, "-m", "tests.conformance.farm"]
    process = await trio.lowlevel.open_process(
        command, stdin=-1, stdout=-1, cwd=SOURCE.parents[2], start_new_session=True
    )
    farm = Farm(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(farm._read)  # noqa: SLF001 - its own task
            yield farm
            nursery.cancel_scope.cancel()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await process.wait()


if __name__ == "__main__":
    main()
