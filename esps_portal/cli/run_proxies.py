"""The proxies of ``esps-portal run``: ``--proxy NAME=URL``, and those of the scenario file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import click

from esps_portal.cli.options import Option

if TYPE_CHECKING:
    import trio

    from esps_portal.cli.script_files import ScriptFile
    from esps_portal.faults.fault import Fault
    from esps_portal.mock.planned_proxy import PlannedProxy
    from esps_portal.mock.scenario import Scenario
    from esps_portal.proxy.state import ProxyState


class ProxyParameter(click.ParamType["PlannedProxy"]):
    """A proxy as NAME=URL."""

    name = "proxy"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> PlannedProxy:
        """Return the proxy."""
        from esps_portal.mock.planned_proxy import (  # noqa: PLC0415 - help must not wait
            NAME_FORM,
            PlannedProxy,
            is_proxy_name,
        )
        from esps_portal.proxy.upstream import Upstream, UpstreamError  # noqa: PLC0415 - the same

        name, equals, url = str(value).partition("=")
        if not equals:
            self.fail(f"{value!r}: expected NAME=URL, as in cache=tcp://127.0.0.1:6379", param, ctx)
        if not is_proxy_name(name):
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


@attrs.frozen
class NamedProxy:
    """A proxy that is started beside the portal.

    Attributes:
        faults: those that are in force from the start.
    """

    name: str
    state: ProxyState
    faults: list[Fault]
    kind: str = "proxy"

    async def start(self, nursery: trio.Nursery) -> dict[str, str]:
        """Serve on a free port of loopback; return the variables that say where.

        Raises:
            CannotBindError, OwnUpstreamError: it cannot be served.
        """
        import trio  # noqa: PLC0415 - help must not wait for it

        from esps_portal.mock.planned_proxy import variable_part  # noqa: PLC0415 - the same
        from esps_portal.proxy.serving import ProxyConfig, serve_proxy  # noqa: PLC0415 - the same

        self.state.start_clock(trio.current_time())
        listeners = await nursery.start(serve_proxy, ProxyConfig(state=self.state, port=0))
        host, port = (*listeners.tcp, *listeners.udp)[0]
        start = f"ESPS_PORTAL_{variable_part(self.name)}"
        return {f"{start}_HOST": host, f"{start}_PORT": str(port)}

    @property
    def is_busy(self) -> bool:
        """Whether it connects to its upstream."""
        return self.state.is_connecting

    def problem_report(self) -> str:
        """Return what --strict finds, and what happened; empty if nothing is wrong."""
        from esps_portal.proxy.verification import (  # noqa: PLC0415 - help must not wait
            find_problems,
            problem_report,
        )

        problems = find_problems(self.state)
        return problem_report(self.state, problems) if problems else ""


def make_proxies(
    given: Sequence[PlannedProxy], file: ScriptFile[Scenario] | None
) -> list[NamedProxy]:
    """Make the proxies of a scenario and of --proxy.

    Args:
        given: of --proxy; one whose name the scenario has takes the place of its upstream.
        file: the scenario.

    Raises:
        click.UsageError: something makes no sense, or two names would have the same variables.
    """
    from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - help must not wait
    from esps_portal.proxy.planned import make_state  # noqa: PLC0415 - the same

    made = []
    for plan, path in _all_plans(given, file):
        try:
            made.append(NamedProxy(plan.name, *make_state(plan, path)))
        except ScenarioError as error:
            assert file is not None  # noqa: S101 - what --proxy gives is checked
            raise file.usage_error("--scenario", error) from error
    return made


def _all_plans(
    given: Sequence[PlannedProxy], file: ScriptFile[Scenario] | None
) -> list[tuple[PlannedProxy, str]]:
    """Return each proxy to start, and its path in the scenario."""
    from esps_portal.mock.planned_proxy import (  # noqa: PLC0415 - help must not wait
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
