"""A fault as text on the command line: ``--fault 'latency seconds=1 match=re:^GET'``."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import click

from esps_portal.cli.completion import complete_fault
from esps_portal.cli.options import Option
from esps_portal.given_numbers import read_number

if TYPE_CHECKING:
    from esps_portal.faults.fault import Fault
    from esps_portal.faults.place import Place
    from esps_portal.journal.values import ScenarioError
    from esps_portal.mock.planned_fault import PlannedFault


class FaultParameter(click.ParamType["PlannedFault"]):
    """A fault as text: its name, then ``key=value``. Numbers are parsed.

    A value with spaces is quoted; a backslash is one, as regular expressions need them.

    Args:
        of_proxy: for a proxy, and not for the portal. Whether it makes sense there depends on the
            upstream, and is checked later.
    """

    name = "fault"

    def __init__(self, *, of_proxy: bool = False) -> None:
        self._of_proxy = of_proxy

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> PlannedFault:
        """Return the fault."""
        from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - help must not wait
        from esps_portal.mock.planned_fault import read_fault  # noqa: PLC0415

        try:
            name, *pairs = _split(str(value)) or [""]
        except ValueError:
            self.fail(f"{value!r}: a quote is not closed", param, ctx)
        fields: dict[str, object] = {"fault": name}
        for pair in pairs:
            key, equals, text = pair.partition("=")
            if not equals or key in fields:
                self.fail(
                    f"{pair!r}: expected NAME KEY=VALUE..., with each key only once", param, ctx
                )
            fields[key] = _parse_value(key, text)
        try:
            return read_fault(fields, where=None) if self._of_proxy else read_fault(fields)
        except ScenarioError as error:
            self.fail(fault_message(error), param, ctx)


def fault_option(*, of_proxy: bool = False) -> Option:
    """Return --fault, of a portal or of a proxy; a command gets ``faults``."""
    option: Option = click.option(
        "--fault",
        "faults",
        type=FaultParameter(of_proxy=of_proxy),
        shell_complete=complete_fault,
        multiple=True,
        metavar="'NAME KEY=VALUE...'",
        help="Place a fault; may be repeated.",
    )
    return option


def make_fault(plan: PlannedFault, where: Place) -> Fault:
    """Return a fault of --fault, which makes sense there.

    Raises:
        click.BadParameter: it does not.
    """
    from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - help must not wait

    try:
        return plan.make("", where)
    except ScenarioError as error:
        raise click.BadParameter(fault_message(error), param_hint="'--fault'") from error


def fault_message(error: ScenarioError) -> str:
    """Return what is wrong with a fault; most messages contain the key already."""
    has_key = re.search(rf"(?<!\w){re.escape(error.path)}(?!\w)", error.message)
    return error.message if has_key else str(error)


def _split(text: str) -> list[str]:
    """Split at spaces outside quotes.

    Raises:
        ValueError: a quote is not closed.
    """
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""
    return list(lexer)


def _parse_value(key: str, text: str) -> object:
    if key == "optional":
        return {"true": True, "false": False}.get(text, text)
    if key in ("match", "reply_match"):
        prefix, colon, rest = text.partition(":")
        name = {"re": "regex", "hex": "hex"}.get(prefix) if colon else None
        return text if name is None else {name: rest}
    if key == "hex":
        return text
    numbers = [_parse_number(part) for part in text.split(",")]
    return numbers[0] if len(numbers) == 1 else numbers


def _parse_number(text: str) -> int | float | str:
    number = read_number(text)
    return text if number is None else number
