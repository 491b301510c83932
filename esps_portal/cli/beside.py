"""The proxies and peers of a scenario, which `serve` and `run` start beside the portal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from esps_portal.cli.run_peers import make_peers
from esps_portal.cli.run_proxies import make_proxies

if TYPE_CHECKING:
    from esps_portal.cli.script_files import ScriptFile
    from esps_portal.control.named_servers import NamedServer, NamedServers, PreparedServer
    from esps_portal.faults.fault import Fault
    from esps_portal.mock.planned_proxy import PlannedProxy
    from esps_portal.mock.scenario import Scenario


def prepare_servers(
    file: ScriptFile[Scenario] | None,
    on_fault: Callable[[Fault], None],
    proxies: Sequence[PlannedProxy] = (),
) -> dict[str, list[PreparedServer]]:
    """Prepare the proxies and peers of a scenario, by their kind; nothing of them is started.

    Args:
        file: the scenario; `None`: there is none.
        on_fault: called with each fault that is placed on one, once it runs.
        proxies: of --proxy.

    Raises:
        click.UsageError: something makes no sense, or two names would have the same variables.
    """
    if file is None and not proxies:
        return {}
    return {
        "proxies": make_proxies(proxies, file, on_fault),
        "peers": make_peers(file, on_fault),
    }


async def start_servers(
    prepared: Mapping[str, Sequence[PreparedServer]], beside: Mapping[str, NamedServers]
) -> dict[str, list[NamedServer]]:
    """Start what was prepared; return it by its kind, once all of it listens.

    Args:
        beside: what the control port has of each kind.

    Raises:
        ScenarioError: a proxy would relay to itself.
        CannotBindError: there is no port.
    """
    return {kind: [await beside[kind].start(each) for each in prepared[kind]] for kind in prepared}
