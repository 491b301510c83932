"""Which frames of this library a failing test shows: none, if the test's own line is at fault.

A module whose functions a test calls sets ``__tracebackhide__ = hides_frame``; pytest calls that
for each frame of the module. An exception that this library raises on purpose is about its caller
and explains itself, so nobody needs to see where it was raised. Any other may be a bug of ours, so
its frames are shown. ``--full-trace`` shows all frames. The same holds for the errors that caused
one of our exceptions: its text says what they are.
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


def hide_causes(error: BaseException) -> None:
    """Remove the cause of each exception of ours in a chain that this library has raised.

    A portal that has died keeps its cause (``shows_cause``): its text does not say all.
    """
    seen = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        if following.__cause__ is not None and _is_explained(following):
            following.__cause__ = None
        hidden = following.__suppress_context__
        following = following.__cause__ or (None if hidden else following.__context__)


def _is_explained(error: BaseException) -> bool:
    is_ours = type(error).__module__.partition(".")[0] == "esps_portal"
    if not is_ours or getattr(error, "shows_cause", False):
        return False
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    # A user's code may raise one of ours too, from a cause of its own.
    raised_in = "" if frame is None else str(frame.tb_frame.f_globals.get("__name__", ""))
    return raised_in.partition(".")[0] == "esps_portal"
