"""Carries bytes towards one side of a connection: at once, or late and changed by faults.

As long as nothing waits, bytes go straight to the socket. What a fault delays waits in a queue, and
one task performs the actions in it one after another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import trio

from esps_portal.faults.actions import Action, End, Hold, Note, Pause, Send
from esps_portal.net.fault_writer import FaultWriter
from esps_portal.net.pacer import Pacer
from esps_portal.net.watched_stream import WatchedStream
from esps_portal.net.writer import Writer, nothing

# Bytes that may wait for one side; then the other side is not read (design: 64 KiB each).
_MAX_WAITING = 65536
# Seconds that a rate makes up for, at the most: longer than a busy loop is late, but not the time
# for which a side did not read.
_CATCH_UP = 0.1


class Lane:
    """Carries bytes to one side.

    Args:
        sink: the side.
        nursery: where delayed bytes wait.
        on_end: called with how a fault ends the connection, once all bytes before it were sent.
        on_broken: called when the side has reset the connection while something waits for it.

    Attributes:
        discards: whether all further bytes are thrown away.
    """

    def __init__(
        self,
        sink: WatchedStream,
        nursery: trio.Nursery,
        on_end: Callable[[str], None],
        on_broken: Callable[[], None],
    ) -> None:
        self._sink = sink
        self._nursery = nursery
        self._on_end = on_end
        self._on_broken = on_broken
        self._writer = Writer(sink)
        self._performer = FaultWriter(
            self._writer,
            nursery,
            on_end,
            on_broken,
            on_release=self._note_change,
            keeps_order=True,
        )
        # Actions that wait, each with the time when its bytes were read.
        self._waiting: deque[tuple[Action, float]] = deque()
        self._size = 0
        self._pacer = Pacer(_CATCH_UP)
        # Notes that wait until nothing is held back.
        self._notes: list[Note] = []
        self._is_performing = False
        self._is_sending = False
        self._changed = trio.lowlevel.ParkingLot()
        self.discards: bool = False

    @property
    def is_clear(self) -> bool:
        """Whether bytes go straight to the socket."""
        if self._is_performing or self._is_sending or not self._performer.is_idle:
            return False
        # What was held back may still be leaving.
        return not (self._writer.outgoing or self._writer.is_sending)

    @property
    def has_room(self) -> bool:
        """Whether the other side may be read: not too many bytes wait."""
        late = self._size + self._performer.held_size + len(self._writer.outgoing)
        return late <= _MAX_WAITING

    async def send(self, data: bytes, source: WatchedStream) -> None:
        """Send bytes that no fault changes, after all that waits.

        Raises:
            trio.BrokenResourceError: this side is broken, or the source is; see `WatchedStream`.
        """
        if not self.is_clear:
            await self.perform([Send(data)], source)
        elif not self.discards:
            self._is_sending = True
            try:
                await self._sink.send_all(data, source)
            finally:
                self._is_sending = False
                self._note_change()

    async def perform(self, actions: Iterable[Action], source: WatchedStream) -> None:
        """Have actions performed; return once there is room to read on.

        Raises:
            trio.BrokenResourceError: the source was reset while there was no room.
        """
        self.put(actions)
        if not self.has_room:
            await source.while_unbroken(self.until_room)

    def put(self, actions: Iterable[Action]) -> None:
        """Have actions performed, after all that waits."""
        if self.discards:
            return
        now = trio.current_time()
        left = self._perform_now(actions) if self.is_clear else actions
        for action in left:
            self._waiting.append((action, now))
            self._size += _size(action)
        if self._waiting and not self._is_performing:
            self._is_performing = True
            self._nursery.start_soon(self._perform_all)

    def _perform_now(self, actions: Iterable[Action]) -> Iterator[Action]:
        """Perform what can be performed without waiting; yield the rest.

        A fault that ends the connection has then ended it before anything else is read.
        """
        left = deque(actions)
        try:
            while left and isinstance(action := left[0], Send | End):
                left.popleft()
                if isinstance(action, End):
                    self._on_end(action.how)
                    continue
                sent = self._sink.send_now(action.data)
                if sent < len(action.data):
                    left.appendleft(Send(action.data[sent:]))
                    break
        except trio.BrokenResourceError:
            self._sink.is_broken = True
            self._on_broken()
            return
        if not self.discards:
            yield from left

    def discard(self) -> None:
        """Throw away all bytes that wait or come later."""
        self.discards = True
        self._waiting.clear()
        self._size = 0
        self._performer.has_ended = True

    def close(self) -> None:
        """Drop all callbacks, once the connection has ended; see `FaultWriter.close`."""
        self._on_end = self._on_broken = nothing
        self._performer.close()

    async def until_clear(self) -> None:
        """Wait until all that waits has left; what is held back leaves at once."""
        while self._is_performing or self._is_sending:
            await self._changed.park()
        if not self.discards:
            await self._release()

    async def _release(self) -> None:
        """Send what is held back."""
        self._performer.release()
        await self._writer.send_everything()
        self._note_change()

    def _note_change(self) -> None:
        self._changed.unpark_all()
        if self._notes and not self._performer.held_size:
            notes, self._notes = self._notes, []
            for note in notes:
                note.call(trio.current_time())

    async def until_room(self) -> None:
        """Wait until there is room."""
        while not self.has_room:
            await self._changed.park()

    async def _perform_all(self) -> None:
        try:
            while self._is_sending:
                await self._changed.park()
            while self._waiting:
                action, read = self._waiting.popleft()
                if isinstance(action, Note):
                    self._notes.append(action)
                    self._note_change()
                    continue
                if isinstance(action, End) and action.how != "deaf":
                    await self._release()  # it came before that end
                if isinstance(action, Pause):
                    action = Pause(self._pacer.rest_of(action, read))
                await self._performer.perform([action], must_send=True)
                self._size = max(0, self._size - _size(action))
                self._note_change()
        except trio.BrokenResourceError:
            self._sink.is_broken = True
            self._on_broken()
        finally:
            self._is_performing = False
            self._note_change()


def _size(action: Action) -> int:
    return len(action.data) if isinstance(action, Send | Hold) else 0
