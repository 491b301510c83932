"""The tiny server passes every vector; else its mutants would prove nothing."""

from __future__ import annotations

import pytest

from tests.conformance.farm import open_farm
from tests.conformance.shared_servers import failures


@pytest.mark.heavy
async def test_passes_every_vector() -> None:
    async with open_farm() as farm:
        assert await failures(lambda limits: farm.server((), limits)) == []
