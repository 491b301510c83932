"""The decorator ``@portal.service``, for every portal to which users add their own services."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar, Unpack, overload

from esps_portal.services.declaration import Declaration
from esps_portal.services.service import Service
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Function = TypeVar("_Function", bound=Callable[..., Any])


class DeclaresServices(ABC):
    """A portal to which services are added with ``@portal.service``."""

    @abstractmethod
    def _offer(self, service: Service) -> None:
        """Offer ``service``; it replaces one of the same name."""

    @overload
    def service(self, function: _Function, /) -> _Function: ...

    @overload
    def service(
        self, /, **declaration: Unpack[Declaration]
    ) -> Callable[[_Function], _Function]: ...

    def service(
        self, function: _Function | None = None, /, **declaration: Unpack[Declaration]
    ) -> _Function | Callable[[_Function], _Function]:
        """Declare a function as a service: ``@portal.service`` or ``@portal.service(name=...)``.

        It is called in the portal's thread. Where a test has the portal, the service is the test's
        own, and an exception other than a `ReplyError` is one of its `problems`.

        The keywords are those of `Service.declare`. The function itself is returned.
        """

        def declare(function: _Function) -> _Function:
            self._offer(Service.declare(function, **declaration))
            return function

        return declare if function is None else declare(function)
