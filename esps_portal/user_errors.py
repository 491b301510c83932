"""Exceptions of functions that the user supplies: a service, a predicate, a handler.

Such a function fails alone, and whatever called it goes on. So every call of one is inside an
``except BaseException``: ``pytest.fail()`` and ``sys.exit()`` raise no `Exception`, and must not
end a server either.
"""

from __future__ import annotations


def reraise_interrupt(error: BaseException) -> None:
    """Raise an error again that is Ctrl-C: it may come at any time, and ends the program.

    Call it first in ``except BaseException``.
    """
    if isinstance(error, KeyboardInterrupt):
        raise error
