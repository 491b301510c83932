"""Suites of each style: plain, unittest, asyncio, anyio, trio."""

from __future__ import annotations

import pytest

from tests.plugin.suite_runs import SHOP, SUITES, place, run, run_here

STYLES = {
    # name: what passes, and the plugins that the suite needs
    "plain": (16, ()),
    "clients_left_open": (30, ()),
    "classes": (3, ()),
    "first_examples": (2, ()),
    "on_asyncio": (6, ("asyncio",)),
    "on_anyio": (8, ("anyio",)),
    "on_trio": (6, ("trio",)),
}


@pytest.mark.parametrize("style", STYLES)
def test_style(pytester: pytest.Pytester, style: str) -> None:
    passed, needs = STYLES[style]
    place(pytester, SUITES / f"{style}.py")
    if style == "on_asyncio":
        pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    run_here(pytester, needs=needs).assert_outcomes(passed=passed)


@pytest.mark.heavy
def test_all_at_once_in_random_order_on_two_workers(pytester: pytest.Pytester) -> None:
    place(pytester, *(SUITES / f"{style}.py" for style in STYLES), SHOP)
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    result = run(pytester, "-n2", needs=("anyio", "asyncio", "randomly", "trio", "xdist"))
    result.assert_outcomes(passed=sum(passed for passed, _ in STYLES.values()) + 2)


def test_use_between_two_tests(pytester: pytest.Pytester) -> None:
    place(pytester, SUITES / "between_tests.py")
    run_here(pytester).assert_outcomes(passed=4)


def test_without_the_plugin_there_is_no_fixture(pytester: pytest.Pytester) -> None:
    place(pytester, SHOP)
    result = run_here(pytester, "-pno:esps_portal")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*fixture 'esps_portal' not found"])


def test_threads_that_a_test_replaces(pytester: pytest.Pytester) -> None:
    """What runs ours is imported while `threading.Thread` is another."""
    pytester.makepyfile(
        """
        import socket
        import threading
        from unittest import mock

        import pytest
        from esps_portal.testing import lines

        @pytest.fixture(autouse=True)
        def no_threads():
            with mock.patch("threading.Thread"):
                yield

        @pytest.mark.parametrize("number", range(2))
        def test_greeting(esps_peer, number):
            peer = esps_peer(lines(), greeting="hello")
            with socket.create_connection((peer.host, peer.port), 30) as client:
                assert client.recv(6) == b"hello\\n"
        """
    )
    run(pytester).assert_outcomes(passed=2)
