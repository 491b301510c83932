"""The method `fault`, with an overload for each fault, for editors and type checkers; schedules.

At run time `esps_portal.faults.fault_types` decides; a test compares the two. The overloads express
what types can: which parameters a fault takes, with their types and defaults.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Unpack, overload

from esps_portal.faults.fault import Fault
from esps_portal.mock.fault_lines import lines_that_place
from esps_portal.mock.planned_fault import PlannedFault, checked_schedule
from esps_portal.testing.controlled_server import ControlledServer
from esps_portal.testing.fault_selectors import (
    ConnectionFault,
    DatagramFault,
    DatagramReplyFault,
    DeafFault,
    ReplyFault,
    StreamFault,
    StreamReplyFault,
    StreamSelectors,
)
from esps_portal.testing.handles import PlacedFault
from esps_portal.tracebacks import hides_frame
from esps_portal.with_blocks import warns_without_with

__tracebackhide__ = hides_frame


class PlacesFaults:
    """A controller whose server has faults; its `ControlledServer` is in ``_server``."""

    _server: ControlledServer
    # Its name in examples, and in the lines that place its faults again.
    _name: str

    @overload
    def fault(
        self,
        kind: Literal["latency"],
        *,
        seconds: float,
        jitter: float = 0.0,
        **selectors: Unpack[StreamFault],
    ) -> PlacedFault:
        """The reply comes late, by ``seconds`` and up to ``jitter`` seconds more."""

    @overload
    def fault(
        self,
        kind: Literal["bandwidth"],
        *,
        bytes_per_second: float,
        **selectors: Unpack[StreamReplyFault],
    ) -> PlacedFault:
        """The reply comes at this rate, in bytes per second."""

    @overload
    def fault(
        self,
        kind: Literal["slice"],
        *,
        at: int | Literal["middle", "before-lf"] = "middle",
        pause: float = 0.05,
        every: int | None = None,
        **selectors: Unpack[StreamReplyFault],
    ) -> PlacedFault:
        """The reply is cut at a byte or ``every`` n bytes, with ``pause`` seconds between."""

    @overload
    def fault(
        self,
        kind: Literal["coalesce"],
        *,
        replies: int = 2,
        seconds: float = 1.0,
        **selectors: Unpack[StreamReplyFault],
    ) -> PlacedFault:
        """Replies are held until there are that many, or for ``seconds``, and come at once."""

    @overload
    def fault(self, kind: Literal["close"], **selectors: Unpack[StreamFault]) -> PlacedFault:
        """FIN comes in place of the reply."""

    @overload
    def fault(self, kind: Literal["reset"], **selectors: Unpack[StreamFault]) -> PlacedFault:
        """RST comes in place of the reply."""

    @overload
    def fault(self, kind: Literal["half-close"], **selectors: Unpack[StreamFault]) -> PlacedFault:
        """FIN comes in place of the reply; what the client sends is discarded."""

    @overload
    def fault(self, kind: Literal["stall"], **selectors: Unpack[StreamFault]) -> PlacedFault:
        """Nothing more comes; the connection stays open."""

    @overload
    def fault(self, kind: Literal["deaf"], **selectors: Unpack[DeafFault]) -> PlacedFault:
        """The client is never read again; replies still come."""

    @overload
    def fault(
        self, kind: Literal["truncate"], *, bytes: int = 1, **selectors: Unpack[ReplyFault]
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
        **selectors: Unpack[StreamSelectors],
    ) -> PlacedFault:
        """Random bytes come in place of the reply, then FIN."""

    @overload
    def fault(
        self, kind: Literal["no-terminator"], **selectors: Unpack[StreamReplyFault]
    ) -> PlacedFault:
        """The reply comes without its last LF; the connection stays open."""

    @overload
    def fault(
        self, kind: Literal["accept-close"], **selectors: Unpack[ConnectionFault]
    ) -> PlacedFault:
        """The connection is accepted, and closed without a greeting."""

    @overload
    def fault(
        self,
        kind: Literal["certificate"],
        *,
        problem: Literal["expired", "wrong-name", "self-signed"],
        **selectors: Unpack[ConnectionFault],
    ) -> PlacedFault:
        """Over TLS, with ``tls=True``: the client is shown a certificate with this problem."""

    @overload
    def fault(self, kind: Literal["drop"], **selectors: Unpack[DatagramFault]) -> PlacedFault:
        """No reply comes."""

    @overload
    def fault(
        self,
        kind: Literal["duplicate"],
        *,
        copies: int = 2,
        **selectors: Unpack[DatagramReplyFault],
    ) -> PlacedFault:
        """The reply comes that many times."""

    @overload
    def fault(
        self,
        kind: Literal["reorder"],
        *,
        replies: int = 1,
        seconds: float = 1.0,
        **selectors: Unpack[DatagramReplyFault],
    ) -> PlacedFault:
        """The reply comes after that many others, or after ``seconds``."""

    @overload
    def fault(
        self,
        kind: Literal["delay"],
        *,
        seconds: float,
        jitter: float = 0.0,
        **selectors: Unpack[DatagramFault],
    ) -> PlacedFault:
        """The reply comes late, by ``seconds`` and up to ``jitter`` seconds more."""

    @overload
    def fault(
        self,
        kind: Literal["corrupt"],
        *,
        bytes: int = 1,
        at: int | None = None,
        seed: int = 0,
        when: Literal["after"] = "after",
        transport: Literal["tcp", "udp"] | None = None,
        **selectors: Unpack[StreamSelectors],
    ) -> PlacedFault:
        """Some bytes of the reply are changed: from ``at`` on, or where the seed chooses."""

    @overload
    def fault(
        self, kind: Literal["patch"], *, at: int, hex: str, **selectors: Unpack[ReplyFault]
    ) -> PlacedFault:
        """The bytes in ``hex``, at the place ``at`` of the reply, replace others."""

    @overload
    def fault(
        self,
        kind: Literal["oversize"],
        *,
        bytes: int = 2000,
        **selectors: Unpack[DatagramReplyFault],
    ) -> PlacedFault:
        """The reply is padded to this many bytes."""

    @overload
    def fault(
        self, kind: Literal["wrong-source"], **selectors: Unpack[DatagramReplyFault]
    ) -> PlacedFault:
        """The reply comes from another port."""

    def fault(self, kind: str, **selectors_and_parameters: Any) -> PlacedFault:
        """Place a fault; it is in force when this returns.

        It ends with its ``with`` block, by ``.remove()``, or with the test. A strict test fails if
        it never struck; ``.optional()`` relaxes that::

            with portal.fault("reset", service="price", when="before"):
                ...

        With ``offset`` exactly that many bytes reach the client's kernel before a RST. A client
        that writes then sees the reset first, and asyncio then loses those bytes.

        Args:
            kind: the fault; an editor lists them with their parameters (seconds, bytes).
            selectors_and_parameters: the fault's parameters, and where it strikes: ``service``,
                ``transport``, ``connection`` and ``request`` (one or several numbers from 1),
                ``when`` (``"before"``: the request is not executed; ``"after"``: it is, and its
                reply is affected), ``times``, ``chance`` with ``seed``; ``reply`` (numbers; 0:
                the greeting), ``match`` (what the request has to contain) and ``reply_match``,
                ``offset`` (how many bytes pass first), ``unit="connection"`` (all that is sent on a
                connection is one unit), ``age`` (of the connection, in seconds), and at a proxy
                ``to="server"``.

        Raises:
            FaultError: the fault or a parameter is unknown, or a value is not valid.
        """
        return self._server.place(Fault.create(kind, **selectors_and_parameters))

    @warns_without_with("with proxy.faults(schedule): ...")
    @contextmanager
    def faults(self, schedule: Iterable[PlannedFault]) -> Iterator[list[PlacedFault]]:
        """Place the faults of a schedule until the ``with`` block ends; none of them has to strike.

        If the block raises, a note of the exception has the lines that place them again, in Python,
        on the command line and in a scenario file::

            @given(schedule=strategies.faults("close", "reset", requests=2))
            def test_retries(schedule):
                with proxy.faults(schedule):
                    shop.buy("sku-1")

        Args:
            schedule: as `esps_portal.testing.strategies.faults` draws it.

        Raises:
            FaultError: a fault makes no sense here. None is in force then.
            TypeError: it is no such schedule.
        """
        planned = checked_schedule(schedule)
        made = [Fault.create(each.kind, **each.options) for each in planned]
        for fault in made:
            fault.is_optional = True
        placed = self._server.place_all(made)
        try:
            yield placed
        except BaseException as error:
            if planned:
                again = lines_that_place(planned, self._name)
                error.add_note(f"The faults in force, as they can be placed again\n{again}")
            raise
        finally:
            for each in placed:
                each.remove()

    def heal(self) -> None:
        """End all faults and outages at once, so that a test can assert recovery within a time.

        What a fault has already struck stays as it is: a stalled connection stays stalled, and a
        reply that is held comes late. New requests and connections meet no fault::

            with proxy.faults(schedule):
                use(client)
                proxy.heal()
                client.wait_until_connected(timeout=2)
        """
        self._server.heal()
