"""What has no attributes for anybody to use: asking for one is an error that says what to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Never

from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class NoAttributes:
    """Something that is used in another way than by its attributes, such as in a ``with`` block."""

    def _how_to_get(self, name: str) -> str:
        """Return what is wrong with asking for an attribute, and what to write instead."""
        raise NotImplementedError

    if not TYPE_CHECKING:  # a type checker finds this by itself

        def __getattr__(self, name: str) -> Never:
            __tracebackhide__ = True  # an AttributeError may be a bug of ours, but not here
            if name.startswith("_"):  # asked for by copy and the like, maybe before `__init__`
                raise AttributeError(name)
            raise AttributeError(self._how_to_get(name), name=name, obj=self)
