"""A clock that no test can freeze or move.

Tools that do so replace the functions of `time` in every module that has imported them. The bounds
on the work of a loop must hold all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

#: Seconds, from any beginning. What such a tool replaces is the function `time.monotonic`, wherever
#: it is found as itself; Windows, which has no `clock_gettime`, has it in a partial.
monotonic: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    if hasattr(time, "clock_gettime")
    else partial(time.monotonic)
)
