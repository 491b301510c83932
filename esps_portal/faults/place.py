"""Where a fault is placed (a portal, a proxy, a peer), and which faults make no sense there."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_types import BOTH, UDP
from esps_portal.faults.parameters import FaultError
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


@attrs.frozen(kw_only=True)
class Place:
    """A kind of server that has faults.

    Attributes:
        name: as an error calls it.
        transports: what it serves.
        is_esps: it speaks ESPS/1: requests call services.
        has_server: it has an upstream, which ``to="server"`` can name.
        issues_certificates: over TLS it has certificates of its own, also with problems.
        has_frames: a stream is cut into frames, so that the end of a unit is known.
        unterminated: the framings whose frames have no terminator, such as LF: by the side that
            gets the frames, client or server, each framing as text.
    """

    name: str
    transports: frozenset[str] = BOTH
    is_esps: bool = False
    has_server: bool = True
    issues_certificates: bool = False
    has_frames: bool = False
    unterminated: Mapping[str, str] = attrs.field(factory=dict)

    def check(self, fault: Fault) -> None:
        """Check that a fault makes sense here.

        Raises:
            FaultError: it does not; the text says what would.
        """
        transports = fault.transports
        is_of_connections = bool(fault.offset or fault.unit)
        if is_of_connections and "tcp" not in self.transports and "udp" in fault.type.transports:
            key = "offset" if fault.offset else "unit"
            raise FaultError(f"{key} is for connections; this {self.name} is served over UDP")
        if not transports & self.transports:
            raise FaultError(
                f"fault {fault.kind!r} works over {_names_of(transports)} only;"
                f" this {self.name} is served over {_names_of(self.transports)}"
            )
        if fault.type.at_handshake and not self.issues_certificates:
            raise FaultError(
                f"fault {fault.kind!r} needs TLS with certificates of the {self.name}'s own:"
                " tls=True, or --tls-self-signed"
            )
        if fault.service is not None and not self.is_esps:
            raise FaultError("service is for ESPS/1: select by what the client sends, match=...")
        if fault.to == "server" and not self.has_server:
            raise FaultError(f"to='server' is for a proxy: no server is behind this {self.name}")
        if fault.age is not None and transports == UDP and not self.has_server:
            raise FaultError(f"age is for connections: a {self.name} has none over UDP")
        if "tcp" in transports & self.transports:
            self._check_stream(fault)

    def _check_stream(self, fault: Fault) -> None:
        """Check what needs the end of a unit, which only a framing tells."""
        if fault.strikes_whole_connections:
            _check_whole_connection(fault)
            return
        if fault.kind == "no-terminator":
            self._check_terminators(fault.to)
        if self.has_frames:
            return
        if _slices_at_end(fault):
            raise FaultError(
                f"slice at={_at(fault)} needs framing=; or give at=BYTE or every=BYTES"
            )
        if fault.kind == "coalesce" and "replies" in fault.given:
            raise FaultError("coalesce replies needs framing=; without it only seconds counts")
        if fault.kind == "corrupt" and _at(fault) is None:
            hint = "" if self.transports == {"tcp"} else ", or transport='udp'"
            raise FaultError(f"corrupt without at needs framing=: give at=BYTE{hint}")
        if fault.strikes_requests and fault.match is not None and fault.match.literal is None:
            raise FaultError(
                "a regular expression or a predicate cannot be decided before the request's end:"
                " give framing=, or match a substring"
            )
        if fault.reply_match is not None and fault.reply_match.literal is None:
            raise FaultError(
                "without a framing reply_match must be a substring: the end of a reply is not known"
            )

    def _check_terminators(self, to: str) -> None:
        why = "give framing=" if not self.has_frames else ""
        if to in self.unterminated:
            why = f"{self.unterminated[to]} has none"
        if why:
            raise FaultError(f"fault 'no-terminator' needs a framing with terminators: {why}")


#: A portal, whatever serves it.
PORTAL = Place(name="portal", is_esps=True, has_server=False, has_frames=True)
#: A portal that issues its own certificates for TLS.
PORTAL_WITH_CERTIFICATES = attrs.evolve(PORTAL, issues_certificates=True)


def _check_whole_connection(fault: Fault) -> None:
    """Check what needs the end of a unit: that of all that is sent on a connection is not known."""
    needs_end = (
        fault.kind in ("no-terminator", "coalesce")
        or _slices_at_end(fault)
        or (fault.kind == "corrupt" and _at(fault) is None)
    )
    if needs_end:
        hints = {"slice": ", or give at=BYTE or every=BYTES", "corrupt": ", or give at=BYTE"}
        raise FaultError(
            f"fault {fault.kind!r} needs the end of a reply: leave out unit='connection'"
            + hints.get(fault.kind, "")
        )


def _slices_at_end(fault: Fault) -> bool:
    """Whether it cuts at a place, such as ``middle``, that only the end of a unit tells."""
    return fault.kind == "slice" and "every" not in fault.given and isinstance(_at(fault), str)


def _at(fault: Fault) -> object:
    return fault.parameters["at"]


def _names_of(transports: frozenset[str]) -> str:
    return " and ".join(sorted(transport.upper() for transport in transports))
