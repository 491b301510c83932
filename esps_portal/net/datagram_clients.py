"""The clients of one UDP socket. None says when it leaves, so silent ones are forgotten."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Generic, TypeVar

from esps_portal.net.datagram_sender import Sender

_Client = TypeVar("_Client")

#: Clients at a time, for each socket (own choice: at a proxy each costs a descriptor, of which a
#: process often has 1024).
MAX_CLIENTS = 512


class DatagramClients(Generic[_Client]):
    """An object for each client, by the source of its datagrams and the address they were sent to.

    Example::

        client = clients.get(sender) or Client(sender)
        silent = clients.heard(sender, client)
        if silent is not None:
            silent.end()
    """

    def __init__(self) -> None:
        # In the order in which they were last heard.
        self._clients: OrderedDict[Sender, _Client] = OrderedDict()

    def get(self, sender: Sender) -> _Client | None:
        """Return what is known of the sender of a datagram."""
        return self._clients.get(sender)

    def heard(self, sender: Sender, client: _Client) -> _Client | None:
        """Note that a client has sent something; return the one that is forgotten for it, if any.

        That is the one that has been silent for longest, once there are more than `MAX_CLIENTS`.
        """
        self._clients[sender] = client
        self._clients.move_to_end(sender)
        return self._clients.popitem(last=False)[1] if len(self._clients) > MAX_CLIENTS else None

    def forget(self, sender: Sender, client: _Client) -> None:
        """Forget a client, unless its place is taken by another."""
        if self._clients.get(sender) is client:
            del self._clients[sender]

    def forget_latest(self) -> _Client | None:
        """Forget the client that was heard last, and return it; `None`: there is none."""
        return self._clients.popitem()[1] if self._clients else None

    def all(self) -> Collection[_Client]:
        """Return all of them, the one that was heard last at the end."""
        return self._clients.values()
