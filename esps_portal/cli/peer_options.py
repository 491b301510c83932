"""The options of a peer: its framing, greeting, faults, and the files that it reads and writes.

The command gets them as one `PeerOptions`, which makes the `ExchangeServer`: what is played, with
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
from esps_portal.cli.proxy_options import FramingParameter
from esps_portal.cli.script_files import (
    ScriptFile,
    frame_replay_option,
    scenario_option,
    warn_of_unused,
)
from esps_portal.cli.written_files import open_record, pcap_option, record_option

if TYPE_CHECKING:
    from esps_portal.faults.fault import Fault
    from esps_portal.framings.framing import Framing
    from esps_portal.journal.values import ScenarioError
    from esps_portal.mock.frame_replay import FrameReplay
    from esps_portal.mock.planned_fault import PlannedFault
    from esps_portal.mock.planned_peer import PlannedPeer
    from esps_portal.mock.scenario import Scenario
    from esps_portal.peer.state import PeerState

_OPTIONS: tuple[Option, ...] = (
    click.option(
        "--framing",
        type=FramingParameter(),
        shell_complete=complete_framing,
        metavar="FRAMING",
        help="How a stream is cut into frames: lines:crlf, delimited:HEX,"
        " length-prefixed:2,at=4,order=little or length-prefixed:varint,at=1, fixed:8, until-close"
        " or matching:REGEX; datagrams is UDP.",
    ),
    click.option(
        "--greeting",
        "greetings",
        metavar="TEXT",
        multiple=True,
        help="What is sent first on each connection, a frame; may be repeated.",
    ),
    fault_option(of_proxy=True),
    scenario_option(
        text="Take framing, greeting, stubs and faults from the [[peers]] of a TOML file."
    ),
    click.option("--name", metavar="NAME", help="Which of the [[peers]], if there are several."),
    frame_replay_option(text="Answer as in a recording of a proxy, by whole units."),
    record_option,
    pcap_option,
)


@attrs.frozen(kw_only=True)
class PeerOptions:
    """The options of a peer, as given.

    Attributes:
        framing, greetings: they replace those of the scenario.
        faults: those of --fault; they come after those of the scenario.
        scenario: the file of --scenario.
        name: which of its peers.
        replay: the recording of --replay.
        record, pcap: the paths of the files to write.
        issues_certificates: see `PeerState`; it is not an option of its own.
    """

    framing: Framing | None
    greetings: tuple[str, ...]
    faults: tuple[PlannedFault, ...]
    scenario: ScriptFile[Scenario] | None
    name: str | None
    replay: ScriptFile[FrameReplay] | None
    record: Path | None
    pcap: Path | None
    issues_certificates: bool = False

    def make_server(self, *, udp: bool | None, is_controlled: bool) -> ExchangeServer[PeerState]:
        """Make the peer, place its faults, and open the file to record to.

        Args:
            udp: serve UDP as well; ``None``: as the scenario says.
            is_controlled: it will have a control port.

        Raises:
            click.UsageError: something given makes no sense.
            click.exceptions.Exit: the file cannot be opened, which was reported.
        """
        from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - help must not wait

        self._check_together()
        scenario = None if self.scenario is None else self.scenario.content
        replay = None if self.replay is None else self.replay.content
        try:
            state, faults = self.make(scenario, replay, udp=udp, keep_journal=is_controlled)
        except ScenarioError as error:
            raise self._usage_error(error) from error
        if self.scenario is not None:
            warn_of_unused(self.scenario, "peers")
        record = None if self.record is None else open_record(self.record)

        def take_stubs(made: PeerState) -> None:
            state.script.stubs = made.script.stubs

        return ExchangeServer(
            noun="peer",
            state=state,
            faults=faults,
            scenario=self.scenario,
            make=lambda scenario: self.make(scenario, None, udp=udp),
            fixed=("framing", "greeting", "udp"),
            take_stubs=take_stubs,
            record=record,
            pcap=self.pcap,
        )

    def _check_together(self) -> None:
        if self.replay is not None:
            for option in ("framing", "greetings", "scenario"):
                if getattr(self, option):
                    name = option.removesuffix("s") if option == "greetings" else option
                    raise click.UsageError(f"--{name} and --replay: a recording has its own")
        if self.scenario is None and self.name is not None:
            raise click.UsageError("--name chooses one of the peers of --scenario")
        if not (self.framing or self.scenario or self.replay):
            raise click.UsageError("give --framing, --scenario or --replay")

    def make(
        self,
        scenario: Scenario | None,
        replay: FrameReplay | None,
        *,
        udp: bool | None,
        keep_journal: bool = False,
    ) -> tuple[PeerState, list[Fault]]:
        """Return a new peer and all its faults, which are placed.

        Args:
            udp: see `make_server`.
            keep_journal: somebody will query it; otherwise only its sinks get the entries.

        Raises:
            ScenarioError: something makes no sense; without a path, it is not of the scenario.
            click.UsageError: a fault of --fault makes no sense there.
        """
        from esps_portal.journal.journal import Journal  # noqa: PLC0415 - help must not wait
        from esps_portal.peer.planned import make_state  # noqa: PLC0415 - the same
        from esps_portal.peer.state import PeerState  # noqa: PLC0415 - the same

        journal = Journal() if keep_journal else Journal(max_calls=1)
        is_own = self.issues_certificates
        if replay is not None:
            state = PeerState.replaying(replay, journal, issues_certificates=is_own)
        else:
            plan, path = self._plan(scenario, udp=udp)
            state, _ = make_state(plan, path, journal, issues_certificates=is_own)
        for fault in [make_fault(fault, state.faults.where) for fault in self.faults]:
            state.faults.place(fault)
        return state, list(state.faults.in_force)

    def _plan(self, scenario: Scenario | None, *, udp: bool | None) -> tuple[PlannedPeer, str]:
        """Return what to play, and its path in the scenario."""
        from esps_portal.mock.planned_peer import PlannedPeer  # noqa: PLC0415 - help must not wait
        from esps_portal.mock.server_names import choose_plan  # noqa: PLC0415 - the same

        plan, path = PlannedPeer("peer"), ""
        if scenario is not None:
            plan, path = choose_plan(scenario.peers, "peers", self.name)
        greeting = tuple(text.encode("utf-8", "surrogateescape") for text in self.greetings)
        given: dict[str, Any] = {"framing": self.framing, "greeting": greeting, "udp": udp}
        return attrs.evolve(
            plan, **{key: value for key, value in given.items() if value not in (None, ())}
        ), path

    def _usage_error(self, error: ScenarioError) -> click.UsageError:
        """Return an error that names the option, or the file and the key in it."""
        if self.scenario is not None and error.path.startswith("peers"):
            return self.scenario.usage_error("--scenario", error)
        return click.BadParameter(error.message, param_hint=f"'--{error.path}'")


#: Adds the options of `PeerOptions`; the command gets them as ``options``.
peer_options: OptionGroup = add_option_group("options", PeerOptions, _OPTIONS)
