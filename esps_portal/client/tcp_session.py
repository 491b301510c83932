"""The part of a TCP connection that both clients share. No socket, no clock.

A session matches replies to requests, and knows how the connection was lost: every later call fails
with the same error.
"""

from __future__ import annotations

import itertools
from copy import copy

from esps_portal.protocol.client_connection import ClientConnection
from esps_portal.protocol.errors import ClosedError, EspsError, PeerError, ProtocolError
from esps_portal.protocol.registry import VERSION
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

READ_SIZE = 65536
#: Seconds after which a client that was not greeted sends a HELLO (own choice: a greeting takes
#: one round trip, which rarely takes longer).
HELLO_DELAY = 0.5
#: The HELLO that is sent to a server without a greeting: one that waits for its client (HTTP, TLS)
#: then answers with an error. A slow portal greets, and then answers it [ESPS-TCP-3].
HELLO = ("HELLO", (VERSION,))
#: Seconds that sending a QUIT or a CANCEL may take.
CLEANUP_TIMEOUT = 1.0
QUIT = b"q QUIT\n"


class TCPSession:
    """One connection to a portal.

    Attributes:
        requests: the requests in flight.
        lost: why the connection can no longer be used; ``None`` while it can.
    """

    def __init__(self) -> None:
        # An iterator rather than a function: c1, c2 and so on are then made without any Python.
        tags = map(b"c%d".__mod__, itertools.count(1))
        self.requests: ClientConnection = ClientConnection(tags.__next__)
        self.lost: EspsError | None = None

    @property
    def has_greeted(self) -> bool:
        """Whether the portal's greeting has come."""
        return self.requests.product is not None

    def receive_untrusted(self, data: bytes) -> None:
        """Take what was read; ``b""`` is the portal's FIN.

        What came before the portal's last line is there to be collected; the connection is then
        lost, whether or not its FIN ever comes.

        Raises:
            ClosedError, PeerError: the connection is lost.
        """
        if not data:
            raise self.lose(self.requests.ended())
        try:
            self.requests.receive_stream_untrusted(data)
        except ProtocolError as error:
            raise self.lose(self.requests.peer_error(error)) from error
        except ClosedError as error:
            raise self.lose(error) from None
        if self.requests.has_ended:
            self.lose(self.requests.ended())

    def send_failed(self, error: OSError) -> EspsError:
        """Note that the system could not send; return what to raise."""
        return self.lose(PeerError(f"cannot send: {error.strerror}"))

    def receive_failed(self, error: OSError) -> EspsError:
        """Note that the system could not receive; return what to raise."""
        # Before the greeting it may be any server; if it is a portal, it may come back.
        received = self.requests.unfinished if self.has_greeted else b""
        return self.lose(PeerError(f"the portal reset: {error.strerror}", received))

    def lose(self, error: EspsError) -> EspsError:
        """Note how the connection was lost, unless it was lost before. Returns ``error``."""
        self.lost = self.lost or error
        return error

    def lost_again(self) -> EspsError:
        """Return what to raise for a connection that is `lost`."""
        # A copy: an exception that is raised twice shows the traceback of both.
        error = copy(self.lost)
        assert error is not None  # noqa: S101 - the caller has asked
        error.__cause__ = self.lost
        return error
