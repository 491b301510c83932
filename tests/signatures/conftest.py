"""A portal that the tests of a module share, and tshark with the dissector."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from esps_portal.journal.pcap import HEADER_SIZE
from esps_portal.testing import serve_in_thread
from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.signatures.dissection import Dissect, Line, lines_of, packets_of, run_tshark


@pytest.fixture(scope="module")
def portal() -> Iterator[ThreadedPortal]:
    """Return a portal with all built-in services."""
    with serve_in_thread() as running:
        yield running


@pytest.fixture
def dissect(tool: Callable[[str], str], tmp_path: Path) -> Dissect:
    """Return a function that dissects a capture, with options of tshark."""

    def dissected(capture: bytes, *options: str) -> list[Line]:
        pdml = run_tshark(tool("tshark"), tmp_path, capture, *options, "-T", "pdml")
        return list(lines_of(pdml))

    return dissected


@pytest.fixture(scope="module")
def dissections(
    request: pytest.FixtureRequest,
    tool: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, list[Line]]:
    """Return the lines in the capture of each test of this module that is marked ``dissected``.

    They are dissected as one capture, with a client for each: tshark takes longer to start than for
    all that they have.
    """
    whole, frames = [b""], dict[str, range]()
    for item in request.session.items:
        mark = item.get_closest_marker("dissected")
        if mark is None or item.path != request.path:
            continue
        capture = mark.args[0](address=f"198.51.100.{len(frames) + 1}")
        whole[0] = capture[:HEADER_SIZE]
        first = len(whole)
        whole += packets_of(capture)
        frames[item.nodeid] = range(first, len(whole))
    folder = tmp_path_factory.mktemp("tshark")
    lines = list(lines_of(run_tshark(tool("tshark"), folder, b"".join(whole), "-T", "pdml")))
    return {test: [line for line in lines if line.frame in frames[test]] for test in frames}


@pytest.fixture
def lines(request: pytest.FixtureRequest, dissections: dict[str, list[Line]]) -> list[Line]:
    """Return the lines in the capture of this test."""
    return dissections[request.node.nodeid]
