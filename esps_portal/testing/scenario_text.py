"""The text of a scenario that a test gives: as a file, or as it is."""

from __future__ import annotations

from pathlib import Path

from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


def scenario_text(scenario: str | Path) -> str:
    """Return the text of a file, as a `Path` or a name that ends in ``.toml``; or the text itself.

    Raises:
        OSError: the file cannot be read.
    """
    # Only a comment of TOML can end so.
    if isinstance(scenario, str) and ("\n" in scenario or not scenario.endswith(".toml")):
        return scenario
    return Path(scenario).read_text(encoding="utf-8")
