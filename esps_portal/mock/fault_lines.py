"""A fault as text that places it again: in Python, on the command line, and in a scenario file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from esps_portal.mock.planned_fault import PlannedFault, fault_to_values
from esps_portal.mock.scenario_writing import faults_to_toml
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# The table of each server's faults in a scenario.
_TABLES = {"portal": "faults", "proxy": "proxies.faults", "peer": "peers.faults"}
# With these prefixes the command line would take a text for a pattern or for bytes.
_PREFIXES = ("re:", "hex:")


def lines_that_place(faults: Sequence[PlannedFault], server: str) -> str:
    """Return the lines that place faults again, in each of the three ways.

    Args:
        server: ``portal``, ``proxy`` or ``peer``, as Python calls it.

    Raises:
        ScenarioError: a fault has a predicate, which cannot be written.
    """
    # As `dump` writes it: without defaults, such as an offset of 0.
    faults = [attrs.evolve(PlannedFault.of(each.make()), optional=each.optional) for each in faults]
    options = [shlex.quote(_command_line(fault_to_values(fault))) for fault in faults]
    table = _TABLES[server]
    above = f", below its [[{table.partition('.')[0]}]]" if "." in table else ""
    blocks = {
        "in Python": [f"{server}.fault({_python_arguments(fault)})" for fault in faults],
        "on the command line": [f"--fault {option}" for option in options],
        f"in a scenario file{above}": faults_to_toml(faults, table).splitlines(),
    }
    return "\n".join(
        "\n".join([f"{title}:", *(f"    {line}".rstrip() for line in lines)])
        for title, lines in blocks.items()
    )


def _python_arguments(fault: PlannedFault) -> str:
    given = [f"{key}={_one_or_all(value)!r}" for key, value in fault.options.items()]
    return ", ".join([f'"{fault.kind}"', *given])


def _one_or_all(value: object) -> object:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _command_line(values: Mapping[str, Any]) -> str:
    kind, *pairs = values.items()
    return " ".join([kind[1], *(f"{key}={_quoted(_value(key, value))}" for key, value in pairs)])


def _value(key: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, Mapping):
        ((form, text),) = value.items()
        return f"{'re' if form == 'regex' else form}:{text}"
    text = str(value)
    if key in ("match", "reply_match") and text.startswith(_PREFIXES):
        return f"hex:{text.encode().hex()}"
    return text


def _quoted(text: str) -> str:
    """Quote a value within the text of a fault, where a backslash escapes nothing."""
    if not any(character in text for character in " \t\r\n'\""):
        return text
    return f"'{text}'" if "'" not in text else f'"{text}"'
