"""How long a test waits for what comes at once on a machine that has nothing else to do."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import trio

# Seconds; no test waits that long unless it fails. A process that shares its core with others may
# get no turn for seconds, and a virtual machine for more: a test that gave up earlier would fail
# because of its neighbours. It is less than pytest's `faulthandler_timeout`, so that what hangs
# fails with its own words.
PATIENCE = 30.0

# Seconds between two looks: what is waited for needs the processor too. The longer it takes the
# longer they are, but each at most a fifth of the time until then.
_PAUSE = 0.001
_MAX_PAUSE = 0.03


def until(is_so: Callable[[], object], seen: Callable[[], object] = str) -> None:
    """Wait for what nothing tells of; fail with what ``seen`` returns.

    Example:
        >>> until(lambda: True)
    """
    deadline = time.monotonic() + PATIENCE
    pause = _PAUSE
    while not is_so():
        assert time.monotonic() < deadline, seen()
        time.sleep(pause)
        pause = min(1.2 * pause, _MAX_PAUSE)


@contextlib.contextmanager
def patient() -> Iterator[None]:
    """Fail if a block of a trio test takes too long by the time of the machine.

    `trio.fail_after` counts by trio's clock: one that a test moves may never get there.
    """
    token, scope = trio.lowlevel.current_trio_token(), trio.CancelScope()
    timer = threading.Timer(PATIENCE, token.run_sync_soon, [scope.cancel])
    timer.start()
    try:
        with scope:
            yield
    finally:
        timer.cancel()
        timer.join()
    if scope.cancelled_caught:
        raise trio.TooSlowError
