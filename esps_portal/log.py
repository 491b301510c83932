"""The log of this package, named ``esps_portal``, with a limit on how often it repeats a message.

What a stranger can cause again and again, such as a failing service, must not fill a disk.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

import attrs

from esps_portal.clock import monotonic
from esps_portal.user_errors import reraise_interrupt

# How many records of one kind are logged, in how many seconds (own choice: a person reads no more).
_BURST = 20
_PERIOD = 10.0
# How many kinds are remembered: a program may log here too, with texts of its own.
_MAX_KINDS = 1000


@attrs.define
class _Kind:
    """Records with the same text before their arguments, in one period."""

    began: float
    count: int = 0


class RateLimit(logging.Filter):
    """Lets through 20 records of a kind in 10 seconds; the next one says how many were left out.

    Records of a kind have the same text, before their arguments are put in. Information for an
    operator, below a warning, is not limited.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[str, _Kind] = {}

    def forget(self) -> None:
        """Start again: nothing has been logged or left out so far."""
        self._kinds.clear()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log a record; add how many records were left out before it."""
        if record.levelno < logging.WARNING:
            return True
        now = monotonic()
        if len(self._kinds) > _MAX_KINDS:
            self._kinds.clear()
        kind = self._kinds.setdefault(str(record.msg), _Kind(now))
        left_out = 0
        if not 0 <= now - kind.began < _PERIOD:
            left_out = max(0, kind.count - _BURST)
            kind.began, kind.count = now, 0
        kind.count += 1
        if left_out:
            record.msg = f"{record.msg} ({left_out} others like it were left out)"
        elif kind.count == _BURST:
            record.msg = f"{record.msg} (others like it are left out for up to {_PERIOD:g} s)"
        return kind.count <= _BURST


class _Log(logging.LoggerAdapter[logging.Logger]):
    """The logger, for code that must go on even if a handler of the program raises."""

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        """Change nothing: the adapter's own would drop what a record has as ``extra``."""
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:  # noqa: ANN401 - the adapter's own signature
        """Log a record; what a handler raises is printed, as `logging` prints its own errors."""
        try:
            super().log(level, msg, *args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - pytest.fail() too: it must not end a server
            reraise_interrupt(error)
            if logging.raiseExceptions and sys.stderr is not None:
                traceback.print_exc()


rate_limit: RateLimit = RateLimit()
logger: logging.Logger = logging.getLogger("esps_portal")
logger.addFilter(rate_limit)
log: _Log = _Log(logger)
