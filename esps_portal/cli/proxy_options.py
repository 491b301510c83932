"""The options of a proxy: its upstream, framings, faults, and the files that it reads and writes.

The command gets them as one `ProxyOptions`, which makes the `ExchangeServer`: what is relayed, with
what SIGHUP reloads.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from esps_portal.cli.completion import complete_framing
from esps_portal.cli.exchange_server import ExchangeServer
from esps_portal.cli.fault_parameter import fault_option, make_fault
from esps_portal.cli.options import Option, OptionGroup, add_option_group
from esps_portal.cli.script_files import ScriptFile, scenario_option, warn_of_unused
from esps_portal.cli.written_files import open_record, pcap_option, record_option

if TYPE_CHECKING:
    from esps_portal.faults.fault import Fault
    from esps_portal.framings.framing import Framing
    from esps_portal.journal.values import ScenarioError
    from esps_portal.mock.planned_fault import PlannedFault
    from esps_portal.mock.planned_proxy import PlannedProxy
    from esps_portal.mock.scenario import Scenario
    from esps_portal.proxy.state import ProxyState
    from esps_portal.proxy.upstream import Upstream


class UpstreamParameter(click.ParamType["Upstream"]):
    """The server that a proxy relays to, as a URL."""

    name = "upstream"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> Upstream:
        """Return the upstream."""
        from esps_portal.proxy.upstream import Upstream, UpstreamError  # noqa: PLC0415 - help must not wait

        try:
            return Upstream.parse(str(value))
        except UpstreamError as error:
            self.fail(str(error), param, ctx)


class FramingParameter(click.ParamType["Framing"]):
    """A framing, as text."""

    name = "framing"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> Framing:
        """Return the framing."""
        from esps_portal.framings.framing import FramingError  # noqa: PLC0415 - help must not wait
        from esps_portal.framings.parse import parse_framing  # noqa: PLC0415 - the same

        try:
            return parse_framing(str(value))
        except FramingError as error:
            self.fail(str(error), param, ctx)


_OPTIONS: tuple[Option, ...] = (
    click.option(
        "--upstream",
        type=UpstreamParameter(),
        metavar="URL",
        help="The server: tcp://HOST:PORT, udp://HOST:PORT, tcp+udp://HOST:PORT or tls://HOST:PORT"
        " (the proxy speaks TLS to it); a portal:"
        " esps://HOST (TCP and UDP) or esps+udp:// or esps+tls://HOST, on port 2867 by default.",
    ),
    fault_option(of_proxy=True),
    click.option(
        "--framing",
        type=FramingParameter(),
        shell_complete=complete_framing,
        metavar="FRAMING",
        help="How a stream is cut into units: lines:crlf, delimited:HEX, length-prefixed:2,at=4,"
        " fixed:8, until-close or matching:REGEX.",
    ),
    click.option(
        "--reply-framing",
        type=FramingParameter(),
        shell_complete=complete_framing,
        metavar="FRAMING",
        help="The framing of what the server sends; by default that of --framing.",
    ),
    scenario_option(text="Take upstream, framings and faults from the [[proxies]] of a TOML file."),
    click.option("--name", metavar="NAME", help="Which of the [[proxies]], if there are several."),
    record_option,
    pcap_option,
)


@attrs.frozen(kw_only=True)
class ProxyOptions:
    """The options of a proxy, as given.

    Attributes:
        upstream, framing, reply_framing: they replace those of the scenario.
        faults: those of --fault; they come after those of the scenario.
        scenario: the file of --scenario.
        name: which of its proxies.
        record, pcap: the paths of the files to write.
        issues_certificates: see `ProxyState`; it is not an option of its own.
    """

    upstream: Upstream | None
    faults: tuple[PlannedFault, ...]
    framing: Framing | None
    reply_framing: Framing | None
    scenario: ScriptFile[Scenario] | None
    name: str | None
    record: Path | None
    pcap: Path | None
    issues_certificates: bool = False

    def make_server(self, *, is_controlled: bool) -> ExchangeServer[ProxyState]:
        """Make the proxy, place its faults, and open the file to record to.

        Args:
            is_controlled: it will have a control port.

        Raises:
            click.UsageError: something given makes no sense.
            click.exceptions.Exit: the file cannot be opened, which was reported.
        """
        from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - help must not wait

        scenario = None if self.scenario is None else self.scenario.content
        try:
            state, faults = self.make(scenario, keep_journal=is_controlled)
        except ScenarioError as error:
            raise self._usage_error(error) from error
        if self.scenario is not None:
            warn_of_unused(self.scenario, "proxies")
        record = None if self.record is None else open_record(self.record)
        return ExchangeServer(
            noun="proxy",
            state=state,
            faults=faults,
            scenario=self.scenario,
            make=self.make,
            fixed=("upstream", "framing", "reply_framing"),
            record=record,
            pcap=self.pcap,
        )

    def make(
        self, scenario: Scenario | None, *, keep_journal: bool = False
    ) -> tuple[ProxyState, list[Fault]]:
        """Return a new proxy and all its faults, which are placed.

        Args:
            keep_journal: somebody will query it; otherwise only its sinks get the entries.

        Raises:
            ScenarioError: something makes no sense; without a path, it is not of the scenario.
            click.UsageError: the options do not go together.
        """
        from esps_portal.journal.journal import Journal  # noqa: PLC0415 - help must not wait
        from esps_portal.proxy.planned import make_state  # noqa: PLC0415 - the same

        plan, path = self._plan(scenario)
        journal = Journal() if keep_journal else Journal(max_calls=1)
        state, placed = make_state(
            plan, path, journal, issues_certificates=self.issues_certificates
        )
        if state.exchanges is not state.journal and not keep_journal:
            state.exchanges = Journal(max_calls=1)
        made = [make_fault(fault, state.faults.where) for fault in self.faults]
        return state, placed + [state.faults.place(fault) for fault in made]

    def _plan(self, scenario: Scenario | None) -> tuple[PlannedProxy, str]:
        """Return what to start, and its path in the scenario."""
        given: dict[str, Any] = {
            "upstream": None if self.upstream is None else str(self.upstream),
            "framing": self.framing,
            "reply_framing": self.reply_framing,
        }
        plan, path = self._planned_by(scenario)
        plan = attrs.evolve(plan, **{key: value for key, value in given.items() if value})
        if plan.framing is None and plan.reply_framing is not None:
            raise click.UsageError("--reply-framing needs --framing: what the client sends")
        return plan, path

    def _planned_by(self, scenario: Scenario | None) -> tuple[PlannedProxy, str]:
        from esps_portal.mock.planned_proxy import PlannedProxy  # noqa: PLC0415 - help must not wait
        from esps_portal.mock.server_names import choose_plan  # noqa: PLC0415 - the same

        if scenario is None:
            if self.name is not None:
                raise click.UsageError("--name chooses one of the proxies of --scenario")
            if self.upstream is None:
                raise click.MissingParameter(param_type="option", param_hint="'--upstream'")
            return PlannedProxy("proxy", ""), ""
        return choose_plan(scenario.proxies, "proxies", self.name)

    def _usage_error(self, error: ScenarioError) -> click.UsageError:
        """Return an error that names the option, or the file and the key in it."""
        key = error.path
        if self.scenario is not None and key.startswith("proxies"):
            return self.scenario.usage_error("--scenario", error)
        return click.BadParameter(error.message, param_hint=f"'--{key.replace('_', '-')}'")


#: Adds the options of `ProxyOptions`; the command gets them as ``options``.
proxy_options: OptionGroup = add_option_group("options", ProxyOptions, _OPTIONS)
