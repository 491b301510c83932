"""Each target of the fuzzer, for a moment; and the fuzzer itself."""

from __future__ import annotations

import random

import pytest

from tests.attacks.targets import LAUNCHER
from tests.forked import ForkedProcess
from tests.fuzz.campaign import NAMES, failure, run
from tests.fuzz.mutations import Corpus, inputs, pieces, smaller
from tests.fuzz.servers import SERVERS


@pytest.fixture(autouse=True)
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LAUNCHER, "launch", ForkedProcess)


@pytest.mark.parametrize("name", NAMES)
def test_no_input_does_harm(name: str) -> None:
    most = 25 if name in SERVERS else 100
    assert run(name, seed=1, most=most) == (most, None)


def test_the_same_seed_makes_the_same_inputs_beginning_with_the_examples() -> None:
    corpus = Corpus([b"one", b"two"], [b"word"])
    first, second = (
        [data for data, _ in zip(inputs(corpus, random.Random(3)), range(200), strict=False)]
        for _ in range(2)
    )
    assert first == second
    assert first[:2] == [b"one", b"two"]
    assert len(set(first)) > 100


def test_pieces_are_the_whole() -> None:
    for seed in range(50):
        assert b"".join(pieces(b"abcdef", random.Random(seed))) == b"abcdef"


def test_a_smaller_input_fails_too() -> None:
    assert smaller(b"abc" * 100 + b"XY" + b"def" * 100, lambda data: b"X" in data) == b"X"


def test_what_is_raised_is_a_finding() -> None:
    def check(data: bytes) -> None:
        assert b"bad" not in data

    assert failure(check, b"good") is None
    found = failure(check, b"a bad one")
    assert found is not None
    assert isinstance(found.error, AssertionError)
