"""``esps-portal conformance --client``: how a client reacts to a server's violations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs
import click

from esps_portal.cli.spec import spec_folder

if TYPE_CHECKING:
    from esps_portal.conformance.outcome import Outcome
    from esps_portal.conformance.plan import Case
    from esps_portal.conformance.results import Texts

# The times in spec/vectors/clients.toml are for this --timeout, its default, in seconds.
_USUAL_TIMEOUT = 5.0


def check_client_usage(command: Sequence[str], of_servers: object) -> None:
    """Check the options that are given with ``--client``.

    Args:
        command: the client.
        of_servers: whether an option is given that is about servers.

    Raises:
        click.UsageError: it is not complete, or does not go with it.
    """
    if not command:
        raise click.UsageError("--client needs CMD: esps-portal conformance --client -- CMD")
    if of_servers:
        raise click.UsageError("--server, --limits, --limits-env and --pcap are not for --client")


def client_texts() -> Texts:
    """Return the cases for clients, and the requirements."""
    from esps_portal.conformance.client_cases import (  # noqa: PLC0415 - help must not wait for it
        load_client_cases,
    )
    from esps_portal.conformance.requirements import load_requirements  # noqa: PLC0415 - the same
    from esps_portal.conformance.results import Texts  # noqa: PLC0415 - the same

    folder = spec_folder()
    cases = load_client_cases(folder)
    return Texts({case.vector.id: case.vector for case in cases}, load_requirements(folder))


async def judge_client(
    command: Sequence[str],
    chosen: Sequence[Case],
    timeout: float,  # noqa: ASYNC109 - it is a setting for many waits
    on_outcome: Callable[[Outcome], None],
) -> str:
    """Serve the chosen cases to a client; it does not say what it is."""
    from esps_portal.conformance.client_cases import (  # noqa: PLC0415 - help must not wait for it
        load_client_cases,
    )
    from esps_portal.conformance.client_run import run_client_cases  # noqa: PLC0415 - the same

    names = {case.vector.id for case in chosen}
    cases = [
        attrs.evolve(case, seconds=case.seconds * timeout / _USUAL_TIMEOUT)
        for case in load_client_cases(spec_folder())
        if case.vector.id in names
    ]
    await run_client_cases(command, cases, on_outcome)
    return ""
