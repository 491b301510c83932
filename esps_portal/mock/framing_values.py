"""A framing as a value of a scenario: its text."""

from __future__ import annotations

from esps_portal.framings.framing import Framing, FramingError
from esps_portal.framings.parse import parse_framing
from esps_portal.framings.patterns import Matching
from esps_portal.journal.values import ScenarioError, read_text
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


def read_framing(value: object, path: str) -> Framing:
    """Return a framing, from its text.

    Raises:
        ScenarioError: it is not the text of one, or its pattern may take unbounded time.
    """
    try:
        framing = parse_framing(read_text(value, path))
    except FramingError as error:
        raise ScenarioError(path, str(error)) from error
    _check_linear(framing, path)
    return framing


def framing_to_value(framing: Framing, path: str) -> str:
    """Return a framing as `read_framing` takes it.

    Raises:
        ScenarioError: it is an object of the user's own, or its pattern may take unbounded time.
    """
    text = str(framing)
    try:
        is_built_in = parse_framing(text) == framing
    except FramingError:
        is_built_in = False
    if not is_built_in:
        raise ScenarioError(path, f"{framing!r} is an object, which no scenario can hold")
    _check_linear(framing, path)
    return text


def _check_linear(framing: Framing, path: str) -> None:
    if isinstance(framing, Matching) and not framing.is_linear:
        raise ScenarioError(
            path,
            f"{framing}: cannot be searched in one pass, which a file and a control port require",
        )
