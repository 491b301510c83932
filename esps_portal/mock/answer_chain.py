"""A chain of answers: what stubs of ESPS/1 and stubs of frames have in common.

One answer is given after the other; the last is repeated indefinitely, unless ``times`` says how
often.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, Self, TypeVar, cast

from esps_portal.given_numbers import is_integer, is_seconds, shown_value
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class StubError(ValueError):
    """A stub cannot give such an answer: a wrong name, a wrong number, or a line too long."""


class ChainedAnswer(Protocol):
    """One answer of a chain.

    Attributes:
        times: how often it is given; ``None``: once, or indefinitely if it is the last.
        done: it is complete; the next method of the chain begins another answer.
    """

    times: int | None
    done: bool

    def add_delay(self, seconds: float) -> None:
        """Wait for this many seconds before what follows."""


_Answer = TypeVar("_Answer", bound=ChainedAnswer)
_ChainMethod = TypeVar("_ChainMethod", bound=Callable[..., Any])


def chain_method(method: _ChainMethod) -> _ChainMethod:
    """Make a method of the chain mark its stub as broken if it raises; a broken stub never answers.

    Otherwise a test that catches the error and goes on would get the first half of the chain.
    """

    @functools.wraps(method)
    def wrapped(stub: AnswerChain[Any], *args: Any, **keywords: Any) -> Any:  # noqa: ANN401 - of any method
        try:
            return method(stub, *args, **keywords)
        except (TypeError, ValueError):
            stub.is_broken = True
            raise

    return cast("_ChainMethod", wrapped)


class AnswerChain(Generic[_Answer]):
    """The answers of a stub, and how they are used. Each method of the chain returns the stub.

    Args:
        new_answer: makes an answer that has nothing yet.

    Attributes:
        answers: in order.
        used: how often it has answered.
        is_optional: a strict test does not fail if it is unused.
        is_broken: a method of the chain raised: it answers nothing.
        number: counts the stubs of a server, in the order of placing.
    """

    def __init__(self, new_answer: Callable[[], _Answer]) -> None:
        self._new_answer = new_answer
        self.answers: list[_Answer] = []
        self.used: int = 0
        self.number: int = 0
        self.is_optional: bool = False
        self.is_broken: bool = False

    # -- the chain

    @chain_method
    def delay(self, seconds: float) -> Self:
        """Wait for this many seconds before what follows; after ``reply``, before that reply.

        ``.reply("x").delay(1)`` and ``.delay(1).reply("x")`` are the same.

        Raises:
            StubError: it is not a number of at least 0.
        """
        if not is_seconds(seconds):
            raise StubError(f"delay must be seconds, 0 or more, got {shown_value(seconds)}")
        self._last_answer().add_delay(float(seconds))
        return self

    @chain_method
    def times(self, count: int) -> Self:
        """Give this answer ``count`` times, then the next; after the last, the stub is used up.

        Raises:
            StubError: it is not a positive integer, or there is no answer to count.
        """
        if not is_integer(count, 1):
            raise StubError(f"times must be a positive integer, got {shown_value(count)}")
        if not self.answers:
            raise StubError("times must follow the answer that it counts: .reply(...).times(n)")
        self.answers[-1].times = count
        return self

    def optional(self) -> Self:
        """Do not fail a strict test if this stub is not used up."""
        self.is_optional = True
        return self

    # -- its use

    @property
    def expected_uses(self) -> int:
        """How many uses it takes until each answer was given; an endless last one counts once."""
        return sum(answer.times or 1 for answer in self.answers) or 1

    @property
    def is_exhausted(self) -> bool:
        """Whether it has no answer left: the last one has a limit, and has reached it."""
        ends = bool(self.answers) and self.answers[-1].times is not None
        return ends and self.used >= self.expected_uses

    @property
    def can_answer(self) -> bool:
        """Whether it is not broken, and has an answer left."""
        return not (self.is_broken or self.is_exhausted)

    @property
    def is_satisfied(self) -> bool:
        """Whether each answer was given, or it is optional."""
        return self.is_optional or self.used >= self.expected_uses

    @property
    def uses(self) -> str:
        """How often it has answered, for a report: ``1 of 2``; ``7`` where the last is endless."""
        expected = f" of {self.expected_uses}" if self.used <= self.expected_uses else ""
        return f"{self.used}{expected}"

    def take(self) -> _Answer:
        """Count one use; return the next answer."""
        answer = self._next()
        self.used += 1
        return answer

    def _next(self) -> _Answer:
        number = self.used
        for answer in self.answers:
            number -= answer.times or 1
            if number < 0:
                return answer
        return self.answers[-1] if self.answers else self._new_answer()

    def why_cannot_answer(self, unit: str) -> str:
        """Return why it cannot answer a call or frame that it is for.

        Args:
            unit: what it answers, as text: ``call`` or ``frame``.
        """
        if self.is_broken:
            return "it is broken: one of its methods raised"
        count = self.expected_uses
        return f"it was for {count} {unit}{'s' * (count != 1)}, and is used up"

    # -- inside

    def _last_answer(self) -> _Answer:
        return self.answers[-1] if self.answers else self._open_answer()

    def _open_answer(self) -> _Answer:
        """Return the answer that is not complete yet; a new one if there is none."""
        if not self.answers or self.answers[-1].done:
            self.answers.append(self._new_answer())
        return self.answers[-1]


def merge_repeats(answers: Iterable[_Answer]) -> list[_Answer]:
    """Return answers in order; equal ones in a row become one answer with ``times``."""
    merged = []
    for answer, repeats in itertools.groupby(answers):
        count = len(list(repeats))
        answer.times = count if count > 1 else None
        merged.append(answer)
    merged[-1].times = None  # indefinitely
    return merged


def describe_stub(stub: AnswerChain[Any]) -> str:
    """Return a stub for a report: what it answers, and how often it was used."""
    used = f"used {stub.uses} times" if stub.used else "never used"
    return f"{stub}: {used}"
