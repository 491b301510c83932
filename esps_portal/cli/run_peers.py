"""The peers of ``esps-portal run``: those of the scenario file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esps_portal.cli.script_files import ScriptFile
    from esps_portal.control.named_servers import PreparedServer
    from esps_portal.faults.fault import Fault
    from esps_portal.mock.scenario import Scenario


def make_peers(
    file: ScriptFile[Scenario] | None, on_fault: Callable[[Fault], None]
) -> list[PreparedServer]:
    """Prepare the peers of a scenario.

    Args:
        file: the scenario.
        on_fault: called with each fault that is placed on one.

    Raises:
        click.UsageError: something makes no sense.
    """
    from esps_portal.control.server_kinds import PEERS  # noqa: PLC0415 - help must not wait
    from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - the same

    made = []
    for number, plan in enumerate(file.content.peers if file else ()):
        try:
            made.append(PEERS.prepare(plan, f"peers[{number}]", on_fault))
        except ScenarioError as error:
            assert file is not None  # noqa: S101 - it has the peers
            raise file.usage_error("--scenario", error) from error
    return made
