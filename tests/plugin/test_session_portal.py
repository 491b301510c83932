"""An application that is started once for a session, and the portal that it uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugin.suite_runs import SUITES, place, run, run_here

CALLS_BETWEEN_TESTS = [
    "*= esps-portal: calls while no test had the portal =*",
    "2 x pirce 'sku-1': no stub or service has that name (first *)",
    "2 x echo 'hi': answered (first *)",
]


POOL = """
    import socket
    import pytest

    @pytest.fixture(scope="session")
    def pool(esps_portal_address):
        address = esps_portal_address.host, esps_portal_address.port
        with socket.create_connection(address, 30) as client, client.makefile("rb") as lines:
            assert lines.readline().startswith(b"* ESPS/1 ")
            yield client

    def test_first(pool, esps_portal):
        pool.sendall(b"a PING\\n")
        assert pool.recv(999) == b"a OK\\n"

    def test_second(pool, esps_portal):
        esps_portal.stub("price")
        pool.sendall(b"a CALL price\\n")
        assert pool.recv(999)

    def test_third(esps_portal):
        esps_portal.stub("price")
"""


def test_a_failing_test_shows_that_connections_were_reset(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(POOL)
    result = run_here(pytester)
    result.assert_outcomes(passed=2, failed=1, errors=1)
    reset = "1 connection of earlier tests was reset before this test: esps_portal_reset = keep *"
    failed, teardown = "*ConnectionResetError*", "*ERROR at teardown of test_third*"
    result.stdout.fnmatch_lines([teardown, reset, failed, reset])


def test_connections_that_are_kept_are_not_mentioned(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(POOL)
    result = run_here(pytester, "--esps-portal-reset=keep")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.no_fnmatch_line("*of earlier tests*")


def place_application(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nesps_portal_reset = keep")
    place(pytester, SUITES / "session_application.py")


def test_an_application_with_a_pool(pytester: pytest.Pytester) -> None:
    place_application(pytester)
    result = run_here(pytester)
    result.assert_outcomes(passed=25)
    result.stdout.fnmatch_lines(["esps-portal: reset=keep"])
    result.stdout.fnmatch_lines(CALLS_BETWEEN_TESTS)
    # Stubs of the session answered these.
    result.stdout.no_fnmatch_line("* x rate *")


@pytest.mark.heavy
def test_on_two_workers(pytester: pytest.Pytester) -> None:
    """Each has a portal of its own, and an application of its own."""
    place_application(pytester)
    result = run(pytester, "-n2", "-v", needs=("xdist", "randomly"))
    result.assert_outcomes(passed=25)
    result.stdout.fnmatch_lines(CALLS_BETWEEN_TESTS)
    result.stdout.fnmatch_lines(["* x rate 'EUR': answered (first *)"])


@pytest.mark.parametrize("reset", ["abort", "keep"])
def test_which_connections_stay_open(pytester: pytest.Pytester, reset: str) -> None:
    pytester.makeini(f"[pytest]\nesps_portal_reset = {reset}")
    place(pytester, SUITES / "idle_connections.py")
    run_here(pytester).assert_outcomes(passed=10)


def test_a_portal_that_is_replaced_keeps_its_ca(pytester: pytest.Pytester) -> None:
    """What was started once, and trusts it, goes on; its file is there until the session ends."""
    pytester.makeini("[pytest]\nesps_portal_tls = yes")
    pytester.makepyfile(
        """
        import pathlib
        import pytest
        from esps_portal import ClosedError, blocking

        portals = []

        def test_that_dies(esps_portal, esps_portal_address):
            portals.append(esps_portal)

            @esps_portal.service
            def die():
                raise KeyboardInterrupt

            with blocking.connect(esps_portal.url, cafile=esps_portal_address.tls_ca) as client:
                with pytest.raises((OSError, ClosedError)):
                    client.call("die")

        def test_that_is_well(esps_portal, esps_portal_address):
            assert esps_portal not in portals
            assert esps_portal.tls_ca == esps_portal_address.tls_ca
            with blocking.connect(esps_portal_address.url, cafile=esps_portal.tls_ca) as client:
                assert client.call("echo", "a") == (b"a",)
            pathlib.Path("ca").write_text(esps_portal.tls_ca)
        """
    )
    result = run_here(pytester, "-p", "no:randomly")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["the portal has died: KeyboardInterrupt()"])
    assert not Path((pytester.path / "ca").read_text()).exists()


def test_a_portal_that_is_replaced_keeps_its_port(pytester: pytest.Pytester) -> None:
    place(pytester, SUITES / "replaced_portal.py")
    result = run(pytester)  # it looks at the threads of its process
    result.assert_outcomes(passed=3, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_that_dies*",
            "the portal has died: KeyboardInterrupt()",
            "*ERROR at teardown of test_that_is_stuck*",
            "the portal is stuck: *",
            "    release.wait(60)",
        ]
    )
