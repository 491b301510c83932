"""Datagrams that were read together. A `Sender` is made only for those that need one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from esps_portal.net.datagram_sender import Sender


@attrs.define(weakref_slot=False)  # one is made for each batch, which may be of one
class ReceivedDatagrams:
    """Some datagrams, in the order in which they came.

    Args:
        senders: of each, if the kernel was asked for more than the address; otherwise `None`.

    Attributes:
        data: the bytes of each.
        addresses: where each has come from.
    """

    data: Sequence[bytes]
    addresses: Sequence[tuple[Any, ...]]
    _senders: Sequence[Sender] | None = None

    @property
    def receivers(self) -> Sequence[Any]:
        """To whom the answer to each goes: an address, or a `Sender` where that is not enough."""
        return self.addresses if self._senders is None else self._senders

    def sender(self, number: int) -> Sender:
        """Return who has sent one of them, counted from 0."""
        if self._senders is None:
            return Sender(self.addresses[number])
        return self._senders[number]

    def senders(self) -> Iterator[Sender]:
        """Return the sender of each."""
        return map(Sender, self.addresses) if self._senders is None else iter(self._senders)

    def only(self, numbers: Sequence[int]) -> ReceivedDatagrams:
        """Return the datagrams of these numbers."""
        return ReceivedDatagrams(
            [self.data[number] for number in numbers],
            [self.addresses[number] for number in numbers],
            self._senders and [self._senders[number] for number in numbers],
        )
