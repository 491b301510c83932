"""Stubs: canned answers for a name and its arguments, placed by a test, and how they are used.

A stub is a chain that reads in the order of what happens::

    stub("price", "sku-1").reply("9.99")
    stub("flaky").fail("busy").times(2).reply("done")     # twice busy, then done for good
    stub("feed").data("1").delay(0.5).data("2").reply().then_close()

``reply`` and ``fail`` end one answer, and what follows them is the next. The last answer is given
for ever, unless ``times`` says how often.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import attrs

from esps_portal.mock.matching import ArgumentPattern, Matcher, shown
from esps_portal.protocol import grammar
from esps_portal.protocol.messages import DATA, ERR, OK, Reply
from esps_portal.services.service import as_bytes
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

Step = float | tuple[bytes, ...]

_Link = TypeVar("_Link", bound=Callable[..., Any])


class StubError(ValueError):
    """A stub was given something that it cannot answer with."""


@attrs.define
class Answer:
    """The answer to one call.

    Attributes:
        steps: what comes before the final line, in order: seconds to wait, or a DATA line.
        kind, args: the final line, ``OK`` or ``ERR``.
        times: how often it is given; ``None`` is once, or for ever if it is the last.
        closes: the connection ends after it.
        done: it has its final line; the next of ``data``, ``reply``, ``fail`` begins another.
    """

    steps: list[Step] = attrs.field(factory=list)
    kind: bytes = OK
    args: tuple[bytes, ...] = ()
    times: int | None = None
    closes: bool = False
    done: bool = False

    @property
    def instant(self) -> bool:
        """Whether it is a single line, without a wait."""
        return not self.steps

    def final(self, tag: bytes) -> Reply:
        """Return the last line for the call under ``tag``."""
        return Reply(tag, self.kind, self.args)


def _link(method: _Link) -> _Link:
    """A method of the chain. A stub that was given what makes no sense is void: it answers nothing.

    Else a test that corrects itself would meet the half of it that came before.
    """

    @functools.wraps(method)
    def link(stub: Stub, *args: Any, **keywords: Any) -> Any:  # noqa: ANN401 - as it is given
        try:
            return method(stub, *args, **keywords)
        except (TypeError, ValueError):
            stub.is_void = True
            raise

    return cast("_Link", link)


class Stub:
    """Answers for one service name and one pattern of arguments. Each method returns the stub."""

    def __init__(self, service: str, args: Sequence[Matcher], *, max_line: int) -> None:
        if not _is_name(service):
            raise StubError(f"{service!r} is not a name: a-z, then up to 63 of a-z 0-9 - . _")
        self.service = service
        self.pattern: ArgumentPattern = ArgumentPattern.of(args)
        self.answers: list[Answer] = []
        #: How many calls it has answered.
        self.used: int = 0
        self.is_optional: bool = False
        #: It could not be made whole; see `_link`.
        self.is_void = False
        self._max_line = max_line

    # -- the chain

    @_link
    def reply(self, *args: str | bytes) -> Stub:
        """Answer ``OK`` with these arguments."""
        return self._finish(OK, tuple(as_bytes(arg) for arg in args))

    @_link
    def fail(self, code: str, *words: str | bytes) -> Stub:
        """Refuse with an error code, a name of the registry or ``x-...``, and words."""
        if not _is_name(code):
            raise StubError(f"{code!r} is not an error code: a-z, then up to 63 of a-z 0-9 - . _")
        return self._finish(ERR, (code.encode(), *(as_bytes(word) for word in words)))

    @_link
    def data(self, *args: str | bytes) -> Stub:
        """Send a DATA line with these arguments before the final line that follows."""
        row = tuple(as_bytes(arg) for arg in args)
        self._measure(DATA, row)
        self._open().steps.append(row)
        return self

    @_link
    def delay(self, seconds: float) -> Stub:
        """Wait so many seconds: before what follows, or before the ``reply`` or ``fail`` behind.

        ``.reply("x").delay(1)`` and ``.delay(1).reply("x")`` are the same.
        """
        if not _is_time(seconds):
            raise StubError(f"delay takes seconds, 0 or more, not {seconds!r}")
        (self.answers[-1] if self.answers else self._open()).steps.append(float(seconds))
        return self

    def then_close(self) -> Stub:
        """End the connection (FIN) behind this answer. Over UDP there is none to end."""
        (self.answers[-1] if self.answers else self._open()).closes = True
        return self

    @_link
    def times(self, count: int) -> Stub:
        """Give this answer ``n`` times, then the next; after the last the stub is used up."""
        if type(count) is not int or count < 1:
            raise StubError(f"times takes a number from 1 on, not {count!r}")
        if not self.answers:
            raise StubError("times comes behind the answer that it counts: .reply(...).times(n)")
        self.answers[-1].times = count
        return self

    def optional(self) -> Stub:
        """Let it go unused: `verify` does not ask for a call."""
        self.is_optional = True
        return self

    def add(self, answer: Answer) -> Stub:
        """Add an answer that is whole."""
        for step in answer.steps:
            if isinstance(step, tuple):
                self._measure(DATA, step)
        self._measure(answer.kind, answer.args)
        self.answers.append(answer)
        return self

    # -- its use

    @property
    def wanted_uses(self) -> int:
        """How many calls it takes until each of its answers has been given."""
        return sum(answer.times or 1 for answer in self.answers) or 1

    @property
    def is_exhausted(self) -> bool:
        """Whether its last answer has been given as often as it may."""
        ends = bool(self.answers) and self.answers[-1].times is not None
        return ends and self.used >= self.wanted_uses

    @property
    def is_satisfied(self) -> bool:
        """Whether it has been used as a test may expect."""
        return self.is_optional or self.used >= self.wanted_uses

    @property
    def is_instant(self) -> bool:
        """Whether the answer whose turn it is is a single line, without a wait."""
        return self._next().instant

    def take(self) -> Answer:
        """Use it once. Returns the answer whose turn it is."""
        answer = self._next()
        self.used += 1
        return answer

    def _next(self) -> Answer:
        number = self.used
        for answer in self.answers:
            number -= answer.times or 1
            if number < 0:
                return answer
        return self.answers[-1] if self.answers else Answer()

    def __str__(self) -> str:
        return f"{self.service} {self.pattern}".rstrip()

    def __repr__(self) -> str:
        return f"<stub {self}, used {self.used} of {self.wanted_uses}>"

    # -- within

    def _open(self) -> Answer:
        if not self.answers or self.answers[-1].done:
            self.answers.append(Answer())
        return self.answers[-1]

    def _finish(self, kind: bytes, args: tuple[bytes, ...]) -> Stub:
        self._measure(kind, args)
        answer = self._open()
        answer.kind, answer.args, answer.done = kind, args, True
        return self

    def _measure(self, kind: bytes, args: tuple[bytes, ...]) -> None:
        size = len(Reply(b"t" * 32, kind, args).encode())
        if size > self._max_line:
            raise StubError(
                f"this answer would be a line of {size} bytes; max_line is {self._max_line}"
            )


@attrs.frozen
class Mismatch:
    """A call that no stub of its name answers: the nearest one, and what differs."""

    nearest: Stub
    differences: tuple[str, ...]

    def __str__(self) -> str:
        return f"nearest stub: {self.nearest}: {'; '.join(self.differences)}"


@attrs.define
class StubRegistry:
    """All stubs, in the order in which they were placed; permanent ones come last.

    A permanent stub belongs to a whole session: it survives `clear`, nobody has to use it, and it
    answers what no other stub does.
    """

    #: By service name; a name is here as long as it has a stub.
    by_name: dict[bytes, list[Stub]] = attrs.field(factory=dict)
    permanent: list[Stub] = attrs.field(factory=list)

    def place(self, stub: Stub) -> Stub:
        """Add a stub."""
        stubs = self.by_name.setdefault(stub.service.encode(), [])
        stubs.insert(sum(placed not in self.permanent for placed in stubs), stub)
        return stub

    def place_permanent(self, stub: Stub) -> Stub:
        """Add a stub that stays."""
        self.permanent.append(stub)
        self.by_name.setdefault(stub.service.encode(), []).append(stub)
        return stub

    def clear(self) -> None:
        """Forget all stubs but the permanent ones, which begin anew."""
        self.by_name.clear()
        for stub in self.permanent:
            stub.used = 0
            self.by_name.setdefault(stub.service.encode(), []).append(stub)

    @property
    def all(self) -> list[Stub]:
        """Every stub that is whole, and not permanent."""
        return [
            stub
            for stubs in list(self.by_name.values())
            for stub in stubs
            if not stub.is_void and stub not in self.permanent
        ]

    @property
    def names(self) -> list[bytes]:
        """The service names that have a stub."""
        return list(self.by_name)

    def find(self, name: bytes, args: Sequence[bytes]) -> Stub | Mismatch:
        """Return the first stub of that name, which has one, that answers; or why none does."""
        nearest: Mismatch | None = None
        least = math.inf
        for stub in self.by_name[name]:
            differences = stub.pattern.differences(args)
            distance = len(differences)
            if not differences and not stub.is_exhausted and not stub.is_void:
                return stub
            if stub.is_void:
                differences = ["it is not whole: one of its methods raised"]
            elif not differences:
                differences = [f"it was for {_times(stub.wanted_uses)}, and is used up"]
            if distance < least:
                nearest, least = Mismatch(stub, tuple(differences)), distance
        assert nearest is not None  # noqa: S101 - the name has a stub
        return nearest

    def shadow_of(self, stub: Stub) -> Stub | None:
        """Return the earlier stub that takes what a stub is for, if it is for exact arguments."""
        pattern = stub.pattern
        args = [wanted for wanted in pattern.wanted if isinstance(wanted, bytes)]
        if pattern.open_ended or len(args) < len(pattern.wanted):
            return None
        for earlier in self.by_name[stub.service.encode()]:
            if earlier is stub:
                break
            if not (earlier.is_exhausted or earlier.is_void) and earlier.pattern.matches(args):
                return earlier
        return None

    def unused(self) -> list[Stub]:
        """Return the stubs that were expected to be used, and were not, or not to their end."""
        return [stub for stub in self.all if not stub.is_satisfied]


def _is_name(said: object) -> bool:
    return isinstance(said, str) and grammar.NAME.fullmatch(said.encode()) is not None


def _is_time(said: object) -> bool:
    return isinstance(said, int | float) and 0 <= said < math.inf


def _times(number: int) -> str:
    return "1 call" if number == 1 else f"{number} calls"


def describe_stub(stub: Stub) -> str:
    """Return a stub for a report: what it answers to, and how far it was used."""
    used = f"used {stub.used} of {stub.wanted_uses} times" if stub.used else "never used"
    return f"{stub}: {used}"


def shown_call(service: bytes, args: Sequence[bytes]) -> str:
    """Return a call for a report."""
    return " ".join([service.decode("utf-8", "backslashreplace"), *map(shown, args)])
