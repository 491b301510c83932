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
    """Remove the cause of each exception in a chain that this library has raised on purpose.

    A portal that has died keeps its cause (``shows_cause``): its text does not say all.
    """
    seen = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        # A context that it does not hide itself may be the test's own.
        has_cause = following.__cause__ is not None or _is_raised_here(following.__context__)
        if has_cause and _is_explained(following):
            following.__cause__ = None  # this hides the context too
        hidden = following.__suppress_context__
        following = following.__cause__ or (None if hidden else following.__context__)


def _is_explained(error: BaseException) -> bool:
    is_ours = type(error).__module__.partition(".")[0] == "esps_portal"
    if not (is_ours or type(error) in _DOCUMENTED) or getattr(error, "shows_cause", False):
        return False
    # A user's code may raise one of ours too, from a cause of its own.
    return _is_raised_here(error)


def _is_raised_here(error: BaseException | None) -> bool:
    """Whether it comes from a line of this library."""
    frame = error.__traceback__ if error is not None else None
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    raised_in = "" if frame is None else str(frame.tb_frame.f_globals.get("__name__", ""))
    return raised_in.partition(".")[0] == "esps_portal"
