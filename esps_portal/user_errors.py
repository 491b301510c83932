"""What a function of the user raises: a service, a predicate, a handler of a peer or of the log.

It fails alone, and whatever served it goes on. So ``except BaseException`` stands around each call
of one: ``pytest.fail()`` and ``sys.exit()`` raise no `Exception`, and must end no server either.
"""

from __future__ import annotations


def reraise_interrupt(error: BaseException) -> None:
    """Raise an error again that is Ctrl-C: it may come at any time, and ends the program.

    Call it first in ``except BaseException``.
    """
    if isinstance(error, KeyboardInterrupt):
        raise error
