"""Starts the portal of the session, and makes a test fail with the reason if it cannot listen.

A part of the plugin: nothing here imports trio before a test asks for a portal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import pytest

from esps_portal.testing.settings import SETTINGS, where_set
from esps_portal.tracebacks import hides_frame

if TYPE_CHECKING:
    from esps_portal.net.bind import CannotBindError

__tracebackhide__ = hides_frame

_Result = TypeVar("_Result")


def session_listening(config: pytest.Config, start: Callable[[], _Result]) -> _Result:
    """Return what ``start`` returns; fail the test if a portal cannot be started as it is set."""
    from esps_portal.net.authority import MissingExtraError
    from esps_portal.net.bind import CannotBindError

    try:
        return start()
    except MissingExtraError as error:
        text = f"the portal of this test session: {error}"
    except CannotBindError as error:
        text = f"the portal of this test session: {error}{_bind_hint(config, error)}"
    # Only now: pytest would show the error that is being handled as well.
    pytest.fail(text, pytrace=False)


def _bind_hint(config: pytest.Config, error: CannotBindError) -> str:
    from esps_portal.inspection.bind_hints import BindOptions, bind_hint

    port, host = where_set(config, "port"), where_set(config, "host")
    hint = bind_hint(error, BindOptions(port, host, sign="="))
    if config.stash[SETTINGS].port and not error.is_unknown_host and hasattr(config, "workerinput"):
        hint += (
            "\nEach xdist worker has a portal of its own, and only one of them can have this"
            f" port: leave {port} out, and each takes a free one; or run with -n 0"
        )
    return hint
