"""Run an attack on a server, beside a polite client, and judge what came of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias

import attrs

from tests.attacks.attack import Bounds, Latency, Outcome, Scale, Usage
from tests.attacks.gauge import Gauge
from tests.attacks.polite import Question, polite_client
from tests.attacks.targets import Target, started

_SETTLE = 12.0  # seconds until all descriptors are back: longer than a drain and a linger


@attrs.define
class Scene:
    """An attack that is running.

    Attributes:
        problems: what the attack itself found wrong.
    """

    target: Target
    scale: Scale
    problems: list[str] = attrs.field(factory=list)

    @property
    def port(self) -> int:
        return self.target.port

    @property
    def seconds(self) -> float:
        return self.scale.seconds

    def expect(self, holds: bool, problem: str) -> None:
        """Note a problem unless something holds."""
        if not holds:
            self.problems.append(problem)


#: Attacks, and returns what it did, in numbers.
Run: TypeAlias = Callable[[Scene], str]
Start: TypeAlias = Callable[[Scale], AbstractContextManager[Target]]


def serve(*options: str) -> Start:
    """Return what starts ``esps-portal serve``."""
    return lambda scale: started("serve", *options, is_pinned=scale.is_pinned)


def against(
    start: Start,
    run: Run,
    bounds: Bounds,
    question: Callable[[Target], Question] = lambda target: target.question,
    *,
    ends_with: int = 0,
) -> Callable[[Scale], Outcome]:
    """Return what measures an attack on a server.

    Args:
        question: what the polite client asks.
        ends_with: the status with which the server ends at last.
    """

    def measure(scale: Scale) -> Outcome:
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            target = stack.enter_context(start(scale))
            asked = attrs.evolve(question(target), pid=target.pid)
            polite = stack.enter_context(polite_client(asked))
            scene = Scene(target, scale)
            gauge = Gauge(target.pid)
            with gauge.watching():
                polite.begin()
                did = run(scene)
                seen = polite.end()
                peak = gauge.peak
            is_up = target.process.poll() is None
            after = gauge.settled(_SETTLE) if is_up else Usage(0, 0)
            scene.expect(is_up, "the server has ended")
        status = target.process.returncode
        scene.expect(status == ends_with, f"the server ended with {status}, not {ends_with}")
        problems = [
            *scene.problems,
            *polite_problems(seen, bounds, scale),
            *(leaks(gauge.before, peak, after, bounds) if is_up else ()),
            *target.log.problems,
        ]
        seconds = time.monotonic() - began
        return Outcome(did, tuple(problems), seen, gauge.before, peak, after, seconds)

    return measure


def polite_problems(seen: Latency, bounds: Bounds, scale: Scale) -> list[str]:
    """Return what a polite client may complain about."""
    found = [f"polite {failure}" for failure in seen.failures]
    if not seen.answers:
        found.append("a polite client had no answer")
    if seen.refused and not bounds.may_refuse:
        found.append(f"{seen.refused} polite newcomers were refused")
    if scale.judges_time:
        found += [
            f"{name} of a polite client: {seconds:.2f} s, more than {limit} s"
            for name, seconds, limit in (
                ("p99", seen.p99, bounds.p99),
                ("maximum", seen.maximum, bounds.maximum),
                ("newcomer", seen.newcomer, bounds.newcomer),
                ("work before an answer", seen.work, bounds.work),
            )
            if seconds > limit
        ]
    return found


def leaks(before: Usage, peak: Usage, after: Usage, bounds: Bounds) -> list[str]:
    """Return what a server has taken beyond its bounds, or has not given back."""
    found = []
    grown = peak.memory - before.memory
    if grown > bounds.memory:
        found.append(f"grew by {grown:.0f} MB, more than {bounds.memory:.0f} ({bounds.because})")
    if after.descriptors > before.descriptors:
        found.append(f"{after.descriptors - before.descriptors} descriptors are left open")
    return found
