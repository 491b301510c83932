"""What a thread is in, for an error that has to say so."""

from __future__ import annotations

import sys
import threading
import traceback
from pathlib import Path

_PACKAGE = str(Path(__file__).parents[1])


def stack_of(thread: threading.Thread) -> str:
    """Return where a thread is now, as a traceback shows it: from our last frame inward."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - documented, for debugging
    frames = traceback.extract_stack(frame) if frame is not None else traceback.StackSummary()
    ours = [number for number, entry in enumerate(frames) if entry.filename.startswith(_PACKAGE)]
    return "".join(traceback.format_list(frames[ours[-1] :] if ours else frames)).rstrip()
