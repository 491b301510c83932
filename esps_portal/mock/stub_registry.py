"""The stubs of a portal: finds the one that answers a call, and those that are unused."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from esps_portal.mock.stubs import Stub
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


@attrs.frozen
class Mismatch:
    """No stub of a service answers a call: the nearest stub, and why it does not."""

    nearest: Stub
    differences: tuple[str, ...]

    def __str__(self) -> str:
        return f"nearest stub: {self.nearest}: {'; '.join(self.differences)}"


@attrs.define
class StubRegistry:
    """All stubs, in the order in which they were placed; the permanent ones come last.

    A permanent stub belongs to a whole session: `clear` keeps it, a strict test does not ask for
    its use, and it answers what no other stub does.
    """

    #: By service name; a service without a stub is not in it.
    by_name: dict[bytes, list[Stub]] = attrs.field(factory=dict)
    permanent: list[Stub] = attrs.field(factory=list)
    _placed: int = 0

    def place(self, stub: Stub) -> Stub:
        """Add a stub."""
        stubs = self.by_name.setdefault(stub.service.encode(), [])
        # A recording may place 60,000: nothing here goes through those that are placed already.
        last = sum(permanent.service == stub.service for permanent in self.permanent)
        stubs.insert(len(stubs) - last, stub)
        self._placed += 1
        stub.number = self._placed
        return stub

    def remove(self, stub: Stub) -> None:
        """Forget a stub that is placed."""
        stubs = self.by_name[stub.service.encode()]
        stubs.remove(stub)
        if not stubs:
            del self.by_name[stub.service.encode()]

    def place_permanent(self, stub: Stub) -> Stub:
        """Add a stub that `clear` keeps."""
        self.permanent.append(stub)
        self.by_name.setdefault(stub.service.encode(), []).append(stub)
        return stub

    def clear(self) -> None:
        """Forget all stubs but the permanent ones, which start again with their first answer."""
        self.by_name.clear()
        for stub in self.permanent:
            stub.used = 0
            self.by_name.setdefault(stub.service.encode(), []).append(stub)

    @property
    def all(self) -> list[Stub]:
        """Every stub that is neither permanent nor broken."""
        return [
            stub
            for stubs in list(self.by_name.values())
            for stub in stubs
            if not stub.is_broken and stub not in self.permanent
        ]

    @property
    def names(self) -> list[bytes]:
        """The service names that have a stub."""
        return list(self.by_name)

    def find(self, name: bytes, args: Sequence[bytes]) -> Stub | Mismatch:
        """Return the first stub that answers a call; or the nearest one, and why it does not.

        Args:
            name: of a service that has a stub.
        """
        misses = []
        for stub in self.by_name[name]:
            differences = stub.args_matcher.differences(args)
            if not differences and stub.can_answer:
                return stub
            misses.append((stub, differences))
        nearest, differences = min(misses, key=lambda miss: len(miss[1]))
        if nearest.is_broken or not differences:
            differences = [nearest.why_cannot_answer("call")]
        return Mismatch(nearest, tuple(differences))

    def shadow_of(self, stub: Stub) -> Stub | None:
        """Return the earlier stub that answers the calls of a stub with exact arguments, if any."""
        matcher = stub.args_matcher
        args = [exact for exact in matcher.matchers if isinstance(exact, bytes)]
        if matcher.allows_more_args or len(args) < len(matcher.matchers):
            return None
        for earlier in self.by_name[stub.service.encode()]:
            if earlier is stub:
                break
            if earlier.can_answer and earlier.args_matcher.matches(args):
                return earlier
        return None

    def unused(self) -> list[Stub]:
        """Return the stubs that a strict test expects to be used, and that are not used up."""
        return [stub for stub in self.all if not stub.is_satisfied]
