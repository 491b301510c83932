"""Mutants of the tiny server: all apply, and vectors notice a sample of them.

`python -m tests.conformance.mutants` judges all of them.
"""

import pytest

from esps_portal.conformance.requirements import load_requirements
from tests.conformance.farm import SOURCE, edited
from tests.conformance.mutants import (
    SPEC,
    judge_all,
    load_mutants,
    load_server_vectors,
    load_unseen,
    relevant,
    row,
)

MUTANTS = load_mutants()
TINY = SOURCE.read_text(encoding="utf-8")
VECTORS = load_server_vectors()
# One of each part, none of which has to be waited for.
SAMPLE = (
    "takes-a-lone-cr-for-a-line-end",
    "does-not-escape-a-percent-sign",
    "a-bad-line-comes-before-tag-in-use",
    "the-first-line-does-not-decide",
    "executes-a-fragment-before-a-fin",
    "has-no-max-in-flight",
    "amplifies-by-one-byte",
    "executes-twice",
    "answers-replies",
    "hello-announces-defaults",
    "cancel-answers-itself-alone",
    "chargen-has-a-ring-of-94",
)


def test_there_are_at_least_100_with_names_of_their_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 100


def test_each_is_another_program_and_breaks_what_vectors_cite() -> None:
    for mutant in MUTANTS:
        assert edited(TINY, mutant.edits) != TINY, mutant.name
        assert relevant(mutant, VECTORS), mutant.name


@pytest.mark.heavy
async def test_a_sample_is_caught() -> None:
    chosen = [mutant for mutant in MUTANTS if mutant.name in SAMPLE]
    assert len(chosen) == len(SAMPLE)
    results = await judge_all(chosen)
    assert [row(result) for result in results if result.outcome is None] == []


def test_each_duty_of_a_server_is_seen_or_a_reason_given() -> None:
    seen = {requirement for vector in VECTORS for requirement in vector.requirements}
    servers = {
        one.id
        for one in load_requirements(SPEC).values()
        if not one.sentence.startswith(("A client", "A sender", "A program"))
        and one.level in {"must", "should"}
    }
    assert sorted(servers - seen) == sorted(load_unseen())
