"""A limit as text on the command line: ``--limit idle=5``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import attrs
import click

from esps_portal.cli.errors import did_you_mean
from esps_portal.cli.options import Option
from esps_portal.given_numbers import read_integer, read_number, shown_value
from esps_portal.protocol.limits import Limits


class LimitParameter(click.ParamType[tuple[str, float]]):
    """A limit of section 10 of the specification, by its name there, and its value."""

    name = "limit"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> tuple[str, float]:
        """Return the name as `Limits` has it, and the value."""
        name, equals, text = str(value).partition("=")
        defaults = {_written(field): default for field, default in attrs.asdict(Limits()).items()}
        if not equals:
            self.fail(f"{value!r}: expected NAME=VALUE, such as idle=5", param, ctx)
        if name not in defaults:
            hint = did_you_mean(difflib.get_close_matches(name, defaults))
            instead = hint or f"; choose from {', '.join(defaults)}"
            self.fail(f"there is no limit {name!r}{instead}", param, ctx)
        is_float = isinstance(defaults[name], float)
        number = read_number(text) if is_float else read_integer(text)
        if number is None:
            what = "a number of seconds" if is_float else "an integer"
            self.fail(f"{name} must be {what}, got {shown_value(text)}", param, ctx)
        return name.replace("-", "_"), number


limit_option: Option = click.option(
    "--limit",
    "limits",
    multiple=True,
    type=LimitParameter(),
    metavar="NAME=VALUE",
    help="Set a limit of section 10 of the specification, such as idle=5.",
)


def make_limits(given: Mapping[str, float], of_scenario: Mapping[str, float]) -> Limits:
    """Return the limits of a portal.

    Args:
        given: those of --limit.
        of_scenario: those of the scenario file.

    Raises:
        click.UsageError: one is given twice, or they are out of range.
    """
    for name in given:
        if name in of_scenario:
            raise click.UsageError(f"--limit {_written(name)}: the scenario has that limit too")
    try:
        return Limits(**{**of_scenario, **given})  # type: ignore[arg-type]  # of the right types
    except ValueError as error:
        message = str(error)
        for field in attrs.asdict(Limits()):
            message = message.replace(field, _written(field))
        raise click.UsageError(f"--limit: {message}") from error


def _written(field: str) -> str:
    return field.replace("_", "-")
