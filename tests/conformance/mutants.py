"""The proof that the vectors see something: servers broken in one place, and which vector notices.

`mutants.toml` has the faults. A fault counts as caught only if a vector fails that names the
requirement of the fault. `python -m tests.conformance.mutants [NAME…]` runs all, or those, and
prints a table, and which requirements no vector sees; it ends with 1 if one survives.
"""

import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import trio

from esps_portal.conformance.outcome import Outcome, Verdict
from esps_portal.conformance.runner import run_vector
from esps_portal.conformance.steps import Vector
from esps_portal.conformance.vectors import load_vectors
from tests.conformance.farm import Edit, Farm, open_farm

TABLE = Path(__file__).with_name("mutants.toml")
UNSEEN = Path(__file__).with_name("unseen.toml")
SPEC = Path(__file__).parents[2] / "spec"
# How often one that has survived is tried again, with nothing beside it.
TRIES_ALONE = 3
AT_ONCE = 16  # servers; most of the time a vector waits
PATIENCE = 1.0  # seconds for what must come; a mutant that keeps silent costs as many


@attrs.frozen
class Mutant:
    """A fault: its name, the requirement that it breaks, and how."""

    name: str
    requirement: str
    edits: tuple[Edit, ...]


@attrs.frozen
class Result:
    """What became of a mutant; `outcome` is the one that caught it, of so many runs."""

    mutant: Mutant
    outcome: Outcome | None
    runs: int
    errors: tuple[str, ...]


def load_mutants() -> list[Mutant]:
    tables = tomllib.loads(TABLE.read_text(encoding="utf-8"))["mutant"]
    return [
        Mutant(
            table["name"],
            table["requirement"],
            tuple((edit["old"], edit["new"]) for edit in [table, *table.get("also", [])]),
        )
        for table in tables
    ]


def load_unseen() -> dict[str, str]:
    """The requirements for servers that no vector sees, and why."""
    return tomllib.loads(UNSEEN.read_text(encoding="utf-8"))


def load_server_vectors() -> list[Vector]:
    return load_vectors(SPEC)


def forms(vector: Vector) -> Iterator[bool]:
    """Whether it is sent byte by byte: first at once, then so."""
    yield False
    if vector.bytewise:
        yield True


def relevant(mutant: Mutant, vectors: Sequence[Vector]) -> list[tuple[Vector, bool]]:
    """The vectors of the broken requirement in each form, those first that wait least."""
    cited = [vector for vector in vectors if mutant.requirement in vector.requirements]
    cited.sort(key=lambda vector: len(vector.limits))  # small limits are there to be waited for
    return sorted(
        ((vector, bytewise) for vector in cited for bytewise in forms(vector)),
        key=lambda pair: pair[1],
    )


async def judge(farm: Farm, mutant: Mutant, vectors: Sequence[Vector]) -> Result:
    """Run the vectors of the broken requirement until one fails."""
    errors, runs = list[str](), relevant(mutant, vectors)
    for vector, bytewise in runs:
        outcome = await run_alone(farm, mutant.edits, vector, bytewise=bytewise)
        if outcome.verdict in {Verdict.FAIL, Verdict.WARN}:
            return Result(mutant, outcome, len(runs), tuple(errors))
        if outcome.verdict is Verdict.ERROR:
            errors.append(f"{vector.id}: {outcome.reason}")
    return Result(mutant, None, len(runs), tuple(errors))


async def run_alone(
    farm: Farm,
    edits: Sequence[Edit],
    vector: Vector,
    *,
    bytewise: bool,
    patience: float = PATIENCE,
) -> Outcome:
    """Run a vector against a server of its own."""
    async with farm.server(edits, vector.limits) as target:
        return await run_vector(vector, target, bytewise=bytewise, reply_timeout=patience)


async def judge_all(mutants: Sequence[Mutant]) -> list[Result]:
    """Judge mutants side by side; the results are in their order."""
    vectors, results = load_server_vectors(), dict[str, Result]()
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def one(mutant: Mutant) -> None:
        async with limiter:
            results[mutant.name] = await judge(farm, mutant, vectors)

    async with open_farm() as farm:
        async with trio.open_nursery() as nursery:
            for mutant in mutants:
                nursery.start_soon(one, mutant)
        # Some are seen by time alone: beside others, on a busy machine, they may get away.
        for _ in range(TRIES_ALONE):
            for mutant in mutants:
                if results[mutant.name].outcome is None:
                    results[mutant.name] = await judge(farm, mutant, vectors)
    return [results[mutant.name] for mutant in mutants]


def row(result: Result) -> str:
    mutant, outcome = result.mutant, result.outcome
    if outcome is None:
        caught = f"SURVIVES {result.runs} runs {'; '.join(result.errors)}"
    else:
        caught = f"{outcome.vector} ({outcome.form})"
    return f"{mutant.requirement:14} {mutant.name:52} {caught}"


def main(names: Sequence[str]) -> int:
    mutants = [mutant for mutant in load_mutants() if not names or mutant.name in names]
    results = trio.run(judge_all, mutants)
    alive = [result for result in results if result.outcome is None]
    lines = [row(result) for result in results]
    lines += ["", "Not seen by any vector:"]
    lines += [f"{requirement:14} {reason}" for requirement, reason in load_unseen().items()]
    lines += ["", f"{len(results) - len(alive)} of {len(results)} caught"]
    print("\n".join(lines))  # noqa: T201 - it is what the command is for
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
