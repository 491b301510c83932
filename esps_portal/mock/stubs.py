"""Stubs: answers that a test gives for a service name and arguments, and how they are used.

A stub is a chain that reads in the order of what happens::

    stub("price", "sku-1").reply("9.99")
    stub("flaky").fail("busy").times(2).reply("done")     # twice busy, then done for good
    stub("feed").data("1").delay(0.5).data("2").reply().then_close()

``reply`` and ``fail`` end one answer; what follows them belongs to the next. The last answer is
repeated indefinitely, unless ``times`` says how often.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from esps_portal.mock.answer_chain import AnswerChain, StubError, chain_method
from esps_portal.mock.matching import ArgsMatcher, Matcher, describe_argument
from esps_portal.protocol import grammar
from esps_portal.protocol.escape import visible
from esps_portal.protocol.messages import DATA, ERR, OK, Reply
from esps_portal.services.service import as_bytes
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

#: Before the final reply: seconds to wait, or the arguments of a DATA line.
StubStep = float | tuple[bytes, ...]

#: The longest tag of a request (spec, Grammar): an answer must fit a line with any tag.
LONGEST_TAG = b"t" * 32


@attrs.define
class StubAnswer:
    """The answer to one call.

    Attributes:
        steps: what comes before the final reply, in order.
        kind, args: of the final reply, ``OK`` or ``ERR``.
        times: how often it is given; ``None``: once, or indefinitely if it is the last.
        closes: the connection ends after it.
        done: it has its final reply, or closes; the next ``data``, ``reply`` or ``fail`` begins
            another.
    """

    steps: list[StubStep] = attrs.field(factory=list)
    kind: bytes = OK
    args: tuple[bytes, ...] = ()
    times: int | None = None
    closes: bool = False
    done: bool = False

    @property
    def is_immediate(self) -> bool:
        """Whether it is a single line, without a wait."""
        return not self.steps

    def add_delay(self, seconds: float) -> None:
        """Wait for this many seconds before what follows."""
        self.steps.append(seconds)

    def final(self, tag: bytes) -> Reply:
        """Return the final reply to the call with a tag."""
        return Reply(tag, self.kind, self.args)


class Stub(AnswerChain[StubAnswer]):
    """The answers for one service and certain arguments. Each method of the chain returns the stub.

    Attributes:
        used: how many calls it has answered.
        is_optional: a strict test does not fail if it is unused.
        is_broken: a method of the chain raised: it answers nothing.
    """

    def __init__(self, service: str, args: Sequence[Matcher], *, max_line: int) -> None:
        if not _is_name(service):
            raise StubError(f"{service!r} is not a name: a-z, then up to 63 of a-z 0-9 - . _")
        super().__init__(StubAnswer)
        self.service = service
        self.args_matcher: ArgsMatcher = ArgsMatcher.of(args)
        self._max_line = max_line

    # -- the chain

    @chain_method
    def reply(self, *args: str | bytes) -> Stub:
        """Reply ``OK`` with these arguments; text is sent as UTF-8.

        Raises:
            StubError: the line would be longer than ``max_line``.
        """
        return self._finish(OK, tuple(map(as_bytes, args)))

    @chain_method
    def fail(self, code: str, *text: str | bytes) -> Stub:
        """Reply ``ERR`` with an error code (of the registry, or ``x-...``) and a text.

        Raises:
            StubError: the code is not a name, or the line would be longer than ``max_line``.
        """
        if not _is_name(code):
            raise StubError(f"{code!r} is not an error code: a-z, then up to 63 of a-z 0-9 - . _")
        return self._finish(ERR, (code.encode(), *map(as_bytes, text)))

    @chain_method
    def data(self, *args: str | bytes) -> Stub:
        """Send a DATA line with these arguments, before the final reply.

        Raises:
            StubError: the line would be longer than ``max_line``.
        """
        line = tuple(map(as_bytes, args))
        self._check_length(DATA, line)
        self._open_answer().steps.append(line)
        return self

    def then_close(self) -> Stub:
        """End the connection (FIN) after this answer, which it completes; alone it replies ``OK``.

        ``.then_close().reply("x")`` closes after the ``OK`` to the first call, and replies to the
        second. It has no effect over UDP.
        """
        answer = self._last_answer()
        answer.closes = answer.done = True
        return self

    def add(self, answer: StubAnswer) -> Stub:
        """Add a complete answer.

        Raises:
            StubError: a line of it would be longer than ``max_line``.
        """
        for step in answer.steps:
            if isinstance(step, tuple):
                self._check_length(DATA, step)
        self._check_length(answer.kind, answer.args)
        self.answers.append(answer)
        return self

    # -- its use

    @property
    def is_next_immediate(self) -> bool:
        """Whether its next answer is a single line, without a wait."""
        return self._next().is_immediate

    def __str__(self) -> str:
        return f"{self.service} {self.args_matcher}".rstrip()

    def __repr__(self) -> str:
        return f"<stub {self}, used {self.uses}>"

    # -- inside

    def _finish(self, kind: bytes, args: tuple[bytes, ...]) -> Stub:
        self._check_length(kind, args)
        answer = self._open_answer()
        answer.kind, answer.args, answer.done = kind, args, True
        return self

    def _check_length(self, kind: bytes, args: tuple[bytes, ...]) -> None:
        size = len(Reply(LONGEST_TAG, kind, args).encode())
        if size > self._max_line:
            raise StubError(
                f"this answer would be a line of {size} bytes; max_line is {self._max_line}"
            )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and grammar.NAME.fullmatch(value.encode()) is not None


def describe_call(service: bytes, args: Sequence[bytes]) -> str:
    """Return a call for a report: the service, then its arguments."""
    name = visible(service.decode("utf-8", "backslashreplace")) or '""'
    return " ".join([name, *map(describe_argument, args)])
