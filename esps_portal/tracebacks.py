"""Which frames of this library a failing test shows: none, if the test's own line is at fault.

A module whose functions a test calls sets ``__tracebackhide__ = hides_frame``; pytest calls that
for each frame of the module. An exception that this library raises on purpose is about its caller
and explains itself, so nobody needs to see where it was raised. Anything else may be a bug of
ours: its frames are shown. With ``--full-trace`` all are.
"""

from __future__ import annotations

# What public functions raise, by their docstrings, besides our own exceptions.
_DOCUMENTED = (RuntimeError, TypeError, ValueError)


def hides_frame(excinfo: object) -> bool:
    """Return whether the traceback of an exception leaves out a frame.

    Args:
        excinfo: pytest's ``ExceptionInfo``, or ``None``.
    """
    error = getattr(excinfo, "value", None)
    ours = type(error).__module__.partition(".")[0] == "esps_portal"
    # Not their subclasses: a RecursionError, for example, is documented nowhere.
    return ours or type(error) in _DOCUMENTED or isinstance(error, OSError)
