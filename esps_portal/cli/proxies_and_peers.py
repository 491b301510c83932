"""The proxies and peers that `serve` and `run` start beside the portal.

They come from the scenario file, and from ``--proxy NAME=URL``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import click

from esps_portal.cli.options import Option

if TYPE_CHECKING:
    from esps_portal.cli.script_files import ScriptFile
    from esps_portal.control.named_servers import NamedServer, NamedServers, PreparedServer
    from esps_portal.control.server_kinds import ServerKind
    from esps_portal.faults.fault import Fault
    from esps_portal.mock.planned_proxy import PlannedProxy
    from esps_portal.mock.scenario import Scenario


class ProxyParameter(click.ParamType["PlannedProxy"]):
    """A proxy as NAME=URL."""

    name = "proxy"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> PlannedProxy:
        """Return the proxy."""
        from esps_portal.mock.planned_proxy import PlannedProxy  # noqa: PLC0415 - help must not wait
        from esps_portal.mock.server_names import NAME_FORM, is_server_name  # noqa: PLC0415 - the same
        from esps_portal.proxy.upstream import Upstream, UpstreamError  # noqa: PLC0415 - the same

        name, equals, url = str(value).partition("=")
        if not equals:
            self.fail(f"{value!r}: expected NAME=URL, as in cache=tcp://127.0.0.1:6379", param, ctx)
        if not is_server_name(name):
            self.fail(f"{name!r} is not {NAME_FORM}", param, ctx)
        try:
            return PlannedProxy(name, str(Upstream.parse(url)))
        except UpstreamError as error:
            self.fail(str(error), param, ctx)


proxy_option: Option = click.option(
    "--proxy",
    "proxies",
    type=ProxyParameter(),
    multiple=True,
    metavar="NAME=URL",
    help="Start a proxy in front of tcp://HOST:PORT, udp://HOST:PORT or tcp+udp://HOST:PORT; may be"
    " repeated.",
)


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
    from esps_portal.control.server_kinds import PEERS, PROXIES  # noqa: PLC0415 - help must not wait

    peers = file.content.peers if file else ()
    peer_plans = [(plan, f"peers[{number}]") for number, plan in enumerate(peers)]
    return {
        "proxies": _prepare_all(PROXIES, _proxy_plans(proxies, file), file, on_fault),
        "peers": _prepare_all(PEERS, peer_plans, file, on_fault),
    }


def _prepare_all(
    kind: ServerKind[Any, Any],
    plans: Iterable[tuple[object, str]],
    file: ScriptFile[Scenario] | None,
    on_fault: Callable[[Fault], None],
) -> list[PreparedServer]:
    from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - help must not wait

    prepared = []
    for plan, path in plans:
        try:
            prepared.append(kind.prepare(plan, path, on_fault))
        except ScenarioError as error:
            assert file is not None  # noqa: S101 - what --proxy gives is checked
            raise file.usage_error("--scenario", error) from error
    return prepared


def _proxy_plans(
    given: Sequence[PlannedProxy], file: ScriptFile[Scenario] | None
) -> list[tuple[PlannedProxy, str]]:
    """Return each proxy to start, and its path in the scenario.

    Args:
        given: of --proxy; one whose name the scenario has takes the place of its upstream.
    """
    from esps_portal.mock.server_names import (  # noqa: PLC0415 - help must not wait
        same_variables,
        variable_part,
    )

    upstreams = {plan.name: plan.upstream for plan in given}
    found = []
    for number, plan in enumerate(file.content.proxies if file else ()):
        upstream = upstreams.get(plan.name, plan.upstream)
        found.append((attrs.evolve(plan, upstream=upstream), f"proxies[{number}]"))
    in_file = {plan.name for plan, _ in found}
    found += [(plan, "") for plan in given if plan.name not in in_file]
    names = [plan.name for plan in given] + sorted(in_file - upstreams.keys())
    names += [plan.name for plan in (file.content.peers if file else ())]
    same = same_variables(names)
    if same is not None:
        first, second = same
        raise click.BadParameter(
            f"{first!r} and {second!r} would both be ESPS_PORTAL_{variable_part(second)}_HOST",
            param_hint="'--proxy'",
        )
    return found


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


def address_variables(name: str, address: tuple[str, int]) -> dict[str, str]:
    """Return the variables that say where a proxy or a peer listens."""
    from esps_portal.mock.server_names import variable_part  # noqa: PLC0415 - help must not wait

    host, port = address
    start = f"ESPS_PORTAL_{variable_part(name)}"
    return {f"{start}_HOST": host, f"{start}_PORT": str(port)}
