"""Proxies and peers with a name, which several clients of the control port change at once."""

from __future__ import annotations

import attrs
import trio
import trio.testing

from esps_portal.control.server_kinds import servers_beside
from esps_portal.net.listeners import Listeners
from tests.patience import PATIENCE


async def test_one_that_ends_while_a_scenario_is_placed_starts_again() -> None:
    values = [{"name": name, "upstream": "tcp://127.0.0.1:9"} for name in ("slow", "kept")]
    may_start = trio.Event()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            proxies = servers_beside(nursery)["proxies"]
            await proxies.replace(proxies.prepare(values[1:], "proxies"))
            slow, kept = proxies.prepare(values, "proxies")

            async def serve(*, task_status: trio.TaskStatus[Listeners]) -> None:
                await may_start.wait()
                await slow.serve(task_status=task_status)

            async with trio.open_nursery() as placing:
                placing.start_soon(proxies.replace, [attrs.evolve(slow, serve=serve), kept])
                await trio.testing.wait_all_tasks_blocked()
                await proxies.end(proxies.find("kept"))
                may_start.set()
            assert list(proxies.by_name) == ["slow", "kept"]
            nursery.cancel_scope.cancel()
