"""A peer in a thread of its own, with its own ``trio.run``: for tests of every style."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self, Unpack

from esps_portal.exports import public_names
from esps_portal.framings.framing import Framing
from esps_portal.peer.state import PeerState
from esps_portal.testing.peer_controller import PeerController
from esps_portal.testing.peer_options import PeerOptions, peer_config, served_peer
from esps_portal.testing.runs_in_thread import RunsInThread
from esps_portal.testing.served import ServerAddress
from esps_portal.testing.server_thread import ServerThread
from esps_portal.tracebacks import hides_frame
from esps_portal.with_blocks import warns_without_with

__tracebackhide__ = hides_frame


class ThreadedPeer(RunsInThread, PeerController):
    """A peer in a thread of its own."""

    def __init__(
        self,
        state: PeerState,
        thread: ServerThread,
        address: ServerAddress,
    ) -> None:
        super().__init__(state, thread, address)
        self._thread = thread

    @classmethod
    def start(cls, framing: Framing | None = None, **options: Unpack[PeerOptions]) -> Self:
        """Start a peer; see `peer_in_thread`, which also ends it."""
        config = peer_config(framing, options)
        thread = ServerThread(served_peer(config))
        return cls(config.state, thread, thread.start())

    def __dir__(self) -> list[str]:
        # Lending it to a test is for the plugin only.
        return public_names(self, PeerController)


@warns_without_with("with peer_in_thread(...) as peer: ...")
@contextmanager
def peer_in_thread(
    framing: Framing | None = None, **options: Unpack[PeerOptions]
) -> Iterator[ThreadedPeer]:
    r"""Serve a peer for the length of a ``with`` block, whatever runs in this thread.

    ``with peer_in_thread(lines("\r\n")) as mail: mail.stub("QUIT").reply("221 bye")``
    Leaving the block ends it at once: connections are reset. Nothing is judged unless the test
    calls `verify`.

    Args:
        framing: how a stream is cut into frames, such as ``lines("\r\n")``; ``datagrams()`` for
            UDP. Leave it out with ``scenario`` or ``replay``.
        options: see `PeerOptions`.

    Raises:
        FramingError: it is not a framing, or the greeting cannot be sent with it.
        ScenarioError: a key of the scenario is wrong, and which.
        RecordingError: the file is not a recording, or holds nothing to replay.
        OSError: a file cannot be read.
        CannotBindError: an address cannot be bound.
        MissingExtraError: ``tls`` is true, and trustme is not installed.
        TypeError, ValueError: an option is unknown, or not what it must be.
    """
    peer = ThreadedPeer.start(framing, **options)
    try:
        yield peer
    finally:
        peer.stop()
