"""The class of threads, as it is when pytest loads the plugin.

A test may replace `threading.Thread`, for the code under test, before the first portal, proxy or
peer is started. That must not take the thread of ours, without which nothing would ever listen.
Nothing of trio is imported here: the plugin imports it, also in suites that use no portal.
"""

from __future__ import annotations

import sys
from threading import Thread as OwnThread

from esps_portal.tracebacks import hides_frame

__all__ = ["OwnThread", "check_real"]
__tracebackhide__ = hides_frame

# What a server in a thread uses, by the names that gevent has for them.
_USED = ("select", "socket", "threading")


def check_real() -> None:
    """Check that gevent has not replaced what a thread with a loop of trio is made of.

    Raises:
        RuntimeError: it has: the thread would be none, and trio would not find its system calls.
    """
    gevent = sys.modules.get("gevent.monkey")
    replaced = [name for name in _USED if gevent is not None and gevent.is_module_patched(name)]
    if replaced:
        raise RuntimeError(
            f"gevent has replaced {', '.join(replaced)} (monkey.patch_all()), which a portal needs"
            " as they are; run it beside the tests instead: esps-portal run -- CMD"
        )
