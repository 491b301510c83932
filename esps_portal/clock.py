"""A clock that no test moves.

Tools that freeze or move time replace the functions of `time` in every module that has imported
them. What bounds the work of a loop must go on all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

#: Seconds, from any beginning.
monotonic: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
