"""File descriptors: how many this process may have, and a spare one for when it has no more."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]


def raise_limit() -> None:
    """Raise the soft limit on open descriptors to the hard one, where there is such a limit.

    Each connection takes a descriptor. The soft limit is 1024 on most systems, for the sake of
    programs that use select(2); the hard one is what the system grants.
    """
    if resource is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):  # macOS has a further limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def soft_limit() -> int | None:
    """Return how many descriptors this process may have; `None`: as many as there are."""
    if resource is None:
        return None
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if descriptors == resource.RLIM_INFINITY else descriptors


def is_scarce(descriptor: int) -> bool:
    """Whether a descriptor that was just opened is one of the last: it has the lowest free number.

    The last are an eighth of what this process may have, and at least 8 (own choice): they are for
    those who keep one for as long as they need it, such as connections.
    """
    limit = soft_limit()
    return limit is not None and descriptor >= limit - max(8, limit // 8)


class SpareDescriptor:
    """A descriptor that is kept for the moment when no other is left.

    Without it a client could then only be left waiting: before it is accepted it can be neither
    answered nor closed.
    """

    __slots__ = ("_descriptor",)

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def keep(self) -> None:
        """Open the descriptor, unless it is open already or none is left."""
        if self._descriptor is None:
            with contextlib.suppress(OSError):
                self._descriptor = os.open(os.devnull, os.O_RDONLY)

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """Close the descriptor for a ``with`` block, in which another one can be opened."""
        self.close()
        try:
            yield
        finally:
            self.keep()
