"""The tiny server passes every vector; else its mutants would prove nothing."""

import trio

from esps_portal.conformance.outcome import Outcome, Verdict
from esps_portal.conformance.steps import Vector
from tests.conformance.farm import open_farm
from tests.conformance.mutants import AT_ONCE, forms, load_server_vectors, run_alone


async def test_passes_every_vector() -> None:
    outcomes: list[Outcome] = []
    at_once = trio.CapacityLimiter(AT_ONCE)
    async with open_farm() as farm, trio.open_nursery() as nursery:

        async def run(vector: Vector, *, bytewise: bool) -> None:
            async with at_once:
                outcomes.append(await run_alone(farm, (), vector, bytewise=bytewise, patience=10))

        async def run_forms(vector: Vector) -> None:
            for bytewise in forms(vector):
                await run(vector, bytewise=bytewise)

        for vector in load_server_vectors():
            nursery.start_soon(run_forms, vector)
    failed = [
        f"{outcome.vector} {outcome.form}: {outcome.mismatch or outcome.reason}"
        for outcome in outcomes
        if outcome.verdict is not Verdict.PASS
    ]
    assert not failed, "\n".join(failed)
