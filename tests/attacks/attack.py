"""What an attack is, how much of it is run, and what came of it."""

from __future__ import annotations

from collections.abc import Callable

import attrs


@attrs.frozen
class Scale:
    """How much of an attack is run.

    Attributes:
        seconds: how long it lasts, at most.
        share: of the connections, lines and datagrams that it is described with.
        judges_time: whether a verdict may be about time. Beside other tests it may not.
        is_pinned: whether the server has a core of its own, as far as there are two.
    """

    seconds: float = 6.0
    share: float = 1.0
    judges_time: bool = True
    is_pinned: bool = True

    def count(self, whole: int) -> int:
        """Return a share of a number, at least 1."""
        return max(1, round(whole * self.share))


@attrs.frozen
class Usage:
    """What a process has: MB of resident memory, and descriptors."""

    memory: float
    descriptors: int


@attrs.frozen
class Latency:
    """Seconds that an answer to a polite client took, and how it fared.

    Attributes:
        newcomer: the longest time from a connect to the first answer.
        work: how long the server has run, at the most, between a question and its answer, but for
            those of newcomers, before whom others may have connected. Unlike the others it depends
            little on what else the machine does.
        answers: how many there were.
        refused: newcomers that were told to come again later.
        failures: what else went wrong, in words.
    """

    median: float
    p99: float
    maximum: float
    newcomer: float
    answers: int
    refused: int
    failures: tuple[str, ...] = ()
    work: float = 0.0


@attrs.frozen
class Bounds:
    """When an attack has done harm.

    Attributes:
        memory: MB that the process may grow by.
        because: where this number comes from.
        work: seconds that the server may run before it answers the polite client: by default what
            50 hostile clients may take of it, at the most (`python -m tests.attacks fairness`).
        p99, maximum, newcomer: seconds that an answer to the polite client may take. By default
            two to three times what the worst attack takes on two quiet cores.
        may_refuse: whether newcomers may be refused meanwhile.
    """

    memory: float
    because: str
    work: float = 0.25
    p99: float = 0.5
    maximum: float = 1.0
    newcomer: float = 2.0
    may_refuse: bool = False


@attrs.frozen
class Outcome:
    """What came of an attack.

    Attributes:
        did: what it did, in numbers.
        problems: what makes the verdict bad.
        seconds: how long it took, with the start of the server.
    """

    did: str
    problems: tuple[str, ...]
    polite: Latency | None = None
    before: Usage | None = None
    peak: Usage | None = None
    after: Usage | None = None
    seconds: float = 0.0


@attrs.frozen
class Attack:
    """One attack.

    Attributes:
        name: as an argument of the command.
        what: one line.
        measure: runs it.
    """

    name: str
    what: str
    measure: Callable[[Scale], Outcome]
