"""The requirements of the specification, read from its text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources.abc import Traversable

import attrs

_HEADING = re.compile(r"#{2,4} ([0-9]+(?:\.[0-9]+)*)\.? (.+)")
# The item of a list, up to the next blank line, item or heading.
_REQUIREMENT = re.compile(r"- \[(ESPS-[A-Z]+-[0-9]+)\] (.*)")
_LEVEL = re.compile(r"\b(MUST|SHOULD|MAY)\b")


@attrs.frozen
class Requirement:
    """One requirement.

    Attributes:
        id: such as ``ESPS-LINE-3``.
        section: such as ``3.1``.
        level: ``must``, ``should`` or ``may``.
        sentence: its text, in one line.
    """

    id: str
    section: str
    level: str
    sentence: str


def load_requirements(folder: Traversable) -> dict[str, Requirement]:
    """Return the requirements of a folder ``spec`` by their identifiers, in their order.

    Raises:
        OSError: the text cannot be read.
    """
    found: dict[str, Requirement] = {}
    section, open_id = "", ""
    for line in (folder / "esps-1.md").read_text(encoding="utf-8").splitlines():
        heading, item = _HEADING.fullmatch(line), _REQUIREMENT.fullmatch(line)
        if heading:
            section, open_id = heading[1], ""
        elif item:
            open_id = item[1]
            found[open_id] = Requirement(open_id, section, "", item[2])
        elif open_id and line.startswith("  "):
            known = found[open_id]
            found[open_id] = attrs.evolve(known, sentence=f"{known.sentence} {line.strip()}")
        else:
            open_id = ""
    return {name: attrs.evolve(one, level=_level(one.sentence)) for name, one in found.items()}


def _level(sentence: str) -> str:
    found = _LEVEL.search(sentence)
    return found[1].lower() if found else ""


def in_section(requirement: Requirement, section: str) -> bool:
    """Whether a requirement is in a section, such as ``6`` or ``6.5``, or in one within it."""
    return requirement.section == section or requirement.section.startswith(f"{section}.")


def cited(
    identifiers: tuple[str, ...], requirements: Mapping[str, Requirement]
) -> list[Requirement]:
    """Return the requirements with these identifiers."""
    return [requirements[name] for name in identifiers if name in requirements]
