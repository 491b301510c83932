"""Which frames a failing test shows of this library: none, where the test's own line is at fault.

A module whose functions a test calls says ``__tracebackhide__ = hides_frame``, which pytest asks
for each of its frames. What this library raises on purpose is about its caller, and explains
itself: nobody has to see where it was raised. Anything else may be a fault of ours, and its frames
stay in sight; as all do with ``--full-trace``.
"""

from __future__ import annotations

# What public functions raise, by their docstrings, beside exceptions of ours.
_DOCUMENTED = (RuntimeError, TypeError, ValueError)


def hides_frame(excinfo: object) -> bool:
    """Whether the traceback of an exception leaves a frame out.

    Args:
        excinfo: pytest's ``ExceptionInfo``; ``None`` where there is none.
    """
    error = getattr(excinfo, "value", None)
    ours = type(error).__module__.partition(".")[0] == "esps_portal"
    # Not what is derived from them: a RecursionError, say, is in nobody's documentation.
    return ours or type(error) in _DOCUMENTED or isinstance(error, OSError)
