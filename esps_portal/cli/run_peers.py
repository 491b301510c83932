"""The peers of ``esps-portal run``: those of the scenario file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import trio

    from esps_portal.cli.script_files import ScriptFile
    from esps_portal.faults.fault import Fault
    from esps_portal.mock.scenario import Scenario
    from esps_portal.peer.state import PeerState


@attrs.frozen
class NamedPeer:
    """A peer that is started beside the portal.

    Attributes:
        faults: those that are in force from the start.
    """

    name: str
    state: PeerState
    faults: list[Fault]
    kind: str = "peer"

    async def start(self, nursery: trio.Nursery) -> dict[str, str]:
        """Serve on a free port of loopback; return the variables that say where.

        Raises:
            CannotBindError: it cannot be served.
        """
        import trio  # noqa: PLC0415 - help must not wait for it

        from esps_portal.mock.planned_proxy import variable_part  # noqa: PLC0415 - the same
        from esps_portal.peer.serving import PeerConfig, serve_peer  # noqa: PLC0415 - the same

        self.state.start_clock(trio.current_time())
        listeners = await nursery.start(serve_peer, PeerConfig(state=self.state))
        host, port = (*listeners.tcp, *listeners.udp)[0]
        start = f"ESPS_PORTAL_{variable_part(self.name)}"
        return {f"{start}_HOST": host, f"{start}_PORT": str(port)}

    @property
    def is_busy(self) -> bool:
        """Never: what a peer waits for it reads."""
        return False

    def problem_report(self) -> str:
        """Return what --strict finds, and what happened; empty if nothing is wrong."""
        from esps_portal.peer.verification import (  # noqa: PLC0415 - help must not wait
            find_problems,
            problem_report,
        )

        problems = find_problems(self.state)
        return problem_report(self.state, problems) if problems else ""


def make_peers(file: ScriptFile[Scenario] | None) -> list[NamedPeer]:
    """Make the peers of a scenario.

    Raises:
        click.UsageError: something makes no sense.
    """
    from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - help must not wait
    from esps_portal.peer.planned import make_state  # noqa: PLC0415 - the same

    made = []
    for number, plan in enumerate(file.content.peers if file else ()):
        try:
            made.append(NamedPeer(plan.name, *make_state(plan, f"peers[{number}]")))
        except ScenarioError as error:
            assert file is not None  # noqa: S101 - it has the peers
            raise file.usage_error("--scenario", error) from error
    return made
