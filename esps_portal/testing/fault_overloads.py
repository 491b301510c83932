"""The method `fault` as editors and type checkers see it: an overload for each fault.

At run time `esps_portal.faults.fault_types` decides; a test compares the two. The overloads say
what types can say: which parameters a fault takes, with their types and defaults.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, Literal, TypedDict, Unpack, overload

from esps_portal.faults.fault import Fault
from esps_portal.testing.handles import PlacedFault
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

#: The names of all faults: annotate a parameter of your own with it.
FaultName = Literal[
    "latency",
    "bandwidth",
    "slice",
    "coalesce",
    "close",
    "reset",
    "half-close",
    "stall",
    "truncate",
    "garbage",
    "no-terminator",
    "accept-close",
    "drop",
    "duplicate",
    "reorder",
    "delay",
    "corrupt",
    "oversize",
    "wrong-source",
]


class ConnectionSelectors(TypedDict, total=False):
    """Which connections a fault strikes, and how often; by default all, always."""

    #: One or several numbers, counted from 1 in the order of accepting since the fault was placed;
    #: over UDP each client counts as one.
    connection: int | Collection[int] | None
    #: How often it strikes at most.
    times: int | None
    #: How likely it strikes, from 0 to 1. With a ``seed`` every run is the same.
    chance: float | None


class Selectors(ConnectionSelectors, total=False):
    """Which requests a fault strikes, and how often; by default all, always."""

    #: Calls of this service.
    service: str | None
    #: One or several numbers, counted from 1 among the requests that the other selectors match
    #: since the fault was placed.
    request: int | Collection[int] | None


class PlacesFaults(ABC):
    """What has the method `fault`."""

    @abstractmethod
    def _place(self, fault: Fault) -> PlacedFault:
        """Put a fault in force, and return its handle."""

    @overload
    def fault(
        self,
        kind: Literal["latency"],
        *,
        seconds: float,
        jitter: float = 0.0,
        when: Literal["before", "after"] = "after",
        transport: Literal["tcp"] | None = None,
        seed: int | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """The reply comes late, by ``seconds`` and up to ``jitter`` seconds more."""

    @overload
    def fault(
        self,
        kind: Literal["bandwidth"],
        *,
        bytes_per_second: float,
        when: Literal["after"] = "after",
        transport: Literal["tcp"] | None = None,
        seed: int | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """The reply comes at this rate, in bytes per second."""

    @overload
    def fault(
        self,
        kind: Literal["slice"],
        *,
        at: int | Literal["middle", "before-lf"] = "middle",
        pause: float = 0.05,
        when: Literal["after"] = "after",
        transport: Literal["tcp"] | None = None,
        seed: int | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """The reply comes in two pieces, cut at a byte, ``pause`` seconds apart."""

    @overload
    def fault(
        self,
        kind: Literal["coalesce"],
        *,
        replies: int = 2,
        seconds: float = 1.0,
        when: Literal["after"] = "after",
        transport: Literal["tcp"] | None = None,
        seed: int | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """Replies are held until there are that many, or for ``seconds``, and come at once."""

    @overload
    def fault(
        self,
        kind: Literal["close"],
        *,
        when: Literal["before", "after"] = "after",
        transport: Literal["tcp"] | None = None,
        seed: int | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """FIN comes in place of the reply."""

    @overload
    def fault(
        self,
        kind: Literal["reset"],
        *,
        when: Literal["before", "after"] = "after",
        transport: Literal["tcp"] | None = None,
        seed: int | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """RST comes in place of the reply."""

    @overload
    def fault(
        self,
        kind: Literal["half-close"],
        *,
        when: Literal["before", "after"] = "after",
        transport: Literal["tcp"] | None = None,
        seed: int | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """FIN comes in place of the reply; what the client sends is discarded."""

    @overload
    def fault(
        self,
        kind: Literal["stall"],
        *,
        when: Literal["before", "after"] = "after",
        transport: Literal["tcp"] | None = None,
        seed: int | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """Nothing more comes; the connection stays open."""

    @overload
    def fault(
        self,
        kind: Literal["truncate"],
        *,
        bytes: int = 1,
        when: Literal["after"] = "after",
        transport: Literal["tcp", "udp"] | None = None,
        seed: int | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """The first bytes of the reply come; over TCP, then FIN."""

    @overload
    def fault(
        self,
        kind: Literal["garbage"],
        *,
        bytes: int = 64,
        seed: int = 0,
        when: Literal["before", "after"] = "after",
        transport: Literal["tcp"] | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """Random bytes come in place of the reply, then FIN."""

    @overload
    def fault(
        self,
        kind: Literal["no-terminator"],
        *,
        when: Literal["after"] = "after",
        transport: Literal["tcp"] | None = None,
        seed: int | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """The reply comes without its last LF; the connection stays open."""

    @overload
    def fault(
        self,
        kind: Literal["accept-close"],
        *,
        transport: Literal["tcp"] | None = None,
        seed: int | None = None,
        **selectors: Unpack[ConnectionSelectors],
    ) -> PlacedFault:
        """The connection is accepted, and closed without a greeting."""

    @overload
    def fault(
        self,
        kind: Literal["drop"],
        *,
        when: Literal["before", "after"] = "after",
        transport: Literal["udp"] | None = None,
        seed: int | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """No reply comes."""

    @overload
    def fault(
        self,
        kind: Literal["duplicate"],
        *,
        copies: int = 2,
        when: Literal["after"] = "after",
        transport: Literal["udp"] | None = None,
        seed: int | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """The reply comes that many times."""

    @overload
    def fault(
        self,
        kind: Literal["reorder"],
        *,
        replies: int = 1,
        seconds: float = 1.0,
        when: Literal["after"] = "after",
        transport: Literal["udp"] | None = None,
        seed: int | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """The reply comes after that many others, or after ``seconds``."""

    @overload
    def fault(
        self,
        kind: Literal["delay"],
        *,
        seconds: float,
        jitter: float = 0.0,
        when: Literal["before", "after"] = "after",
        transport: Literal["udp"] | None = None,
        seed: int | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """The reply comes late, by ``seconds`` and up to ``jitter`` seconds more."""

    @overload
    def fault(
        self,
        kind: Literal["corrupt"],
        *,
        bytes: int = 1,
        seed: int = 0,
        when: Literal["after"] = "after",
        transport: Literal["udp"] | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """Some bytes of the reply are changed; their number stays."""

    @overload
    def fault(
        self,
        kind: Literal["oversize"],
        *,
        bytes: int = 2000,
        when: Literal["after"] = "after",
        transport: Literal["udp"] | None = None,
        seed: int | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """The reply is padded to this many bytes."""

    @overload
    def fault(
        self,
        kind: Literal["wrong-source"],
        *,
        when: Literal["after"] = "after",
        transport: Literal["udp"] | None = None,
        seed: int | None = None,
        **selectors: Unpack[Selectors],
    ) -> PlacedFault:
        """The reply comes from another port."""

    def fault(self, kind: str, **selectors_and_parameters: Any) -> PlacedFault:
        """Place a fault; it is in force when this returns.

        It ends with its ``with`` block, by ``.remove()``, or with the test. A strict test fails if
        it never struck; ``.optional()`` relaxes that::

            with portal.fault("reset", service="price", when="before"):
                ...

        Args:
            kind: the fault; an editor lists them with their parameters (seconds, bytes).
            selectors_and_parameters: the fault's parameters, and where it strikes: ``service``,
                ``transport``, ``connection`` and ``request`` (one or several numbers from 1),
                ``when`` (``"before"``: the request is not executed; ``"after"``: it is, and its
                reply is affected), ``times``, ``chance`` with ``seed``.

        Raises:
            FaultError: the fault or a parameter is unknown, or a value is not valid.
        """
        return self._place(Fault.create(kind, **selectors_and_parameters))
