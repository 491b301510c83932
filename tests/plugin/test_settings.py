"""The settings, on the command line and in the configuration file."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from tests.plugin.suite_runs import SUITES, place, run, run_here

SUITE = """
    import pytest

    def test_lenient(esps_portal):
        esps_portal.stub("never").reply()

    def test_address(esps_portal, esps_portal_factory):
        print("ADDRESS", esps_portal.host, esps_portal.port, esps_portal_factory().host)

    @pytest.mark.esps_portal(strict=True)
    def test_strict(esps_portal):
        esps_portal.stub("never").reply()
"""


@pytest.mark.parametrize(
    ("config", "arguments"),
    [
        ("esps_portal_strict = no\nesps_portal_host = ::1", []),
        ("esps_portal_strict = yes", ["--esps-portal-strict=no", "--esps-portal-host=::1"]),
    ],
)
def test_the_command_line_overrides_the_file(
    pytester: pytest.Pytester, config: str, arguments: list[str]
) -> None:
    pytester.makeini(f"[pytest]\naddopts = --strict-markers --strict-config\n{config}")
    pytester.makepyfile(SUITE)
    result = run_here(pytester, "-rP", *arguments)
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_strict*",
            "unused stub: never: never used",
            "ADDRESS ::1 * ::1",
        ]
    )


@pytest.mark.parametrize("by_option", [True, False])
def test_a_port_that_is_taken_fails_the_test_that_needs_it(
    pytester: pytest.Pytester, *, by_option: bool
) -> None:
    pytester.makepyfile(SUITE)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        setting = "--esps-portal-port" if by_option else "esps_portal_port"
        if not by_option:
            pytester.makeini(f"[pytest]\nesps_portal_port = {port}")
        arguments = [f"--esps-portal-port={port}"] if by_option else []
        result = run_here(pytester, *arguments, "-k", "lenient")
    result.assert_outcomes(errors=1)
    by_whom = f"by * (pid {os.getpid()})"
    hint = f"{by_whom}; try another {setting}, or {setting}=0"
    result.stdout.fnmatch_lines([f"the portal of this test session: *{port}* {hint}"])
    for noise in ("*Traceback*", "*traceback entries*", "E *", "*Errno*"):
        result.stdout.no_fnmatch_line(noise)


def test_a_host_with_a_port(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    result = run_here(pytester, "--esps-portal-host=127.0.0.1:3", "-k", "lenient")
    result.stdout.fnmatch_lines(
        ["*127.0.0.1:3 *; write --esps-portal-host=127.0.0.1 and esps_portal_port=3"]
    )


@pytest.mark.parametrize("by_option", [pytest.param(True, marks=pytest.mark.heavy), False])
def test_a_port_that_another_xdist_worker_has(
    pytester: pytest.Pytester, *, by_option: bool
) -> None:
    pytester.makepyfile(SUITE)
    setting = "--esps-portal-port" if by_option else "esps_portal_port"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        if by_option:
            option = f"--esps-portal-port={port}"
            result = run(pytester, option, "-n1", "-k", "lenient", needs=("xdist",))
        else:
            pytester.makeini(f"[pytest]\nesps_portal_port = {port}")
            # What xdist does in a worker, without starting one.
            pytester.makeconftest("def pytest_configure(config): config.workerinput = {}")
            result = run_here(pytester, "-k", "lenient")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            f"the portal of this test session: cannot listen on 127.0.0.1 port {port} (tcp): *",
            f"Each xdist worker has a portal of its own, *: leave {setting} out, *or run with -n 0",
        ]
    )
    result.stdout.no_fnmatch_line("*Errno*")


def test_the_header_shows_settings_that_are_not_the_default(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    run_here(pytester).stdout.no_fnmatch_line("esps-portal: *")
    result = run_here(pytester, "--esps-portal-strict=no", "--esps-portal-host=::1")
    result.stdout.fnmatch_lines(["esps-portal: host=::1, strict=no"])


@pytest.mark.parametrize(
    ("config", "argument", "message"),
    [
        (
            "",
            "--esps-portal-port=x",
            "--esps-portal-port must be a number from 0 to 65535, got 'x'",
        ),
        (
            "",
            "--esps-portal-port=65536",
            "--esps-portal-port must be a number *, got '65536'",
        ),
        (
            "",
            "--esps-portal-strict=perhaps",
            "--esps-portal-strict must be yes or no, got *",
        ),
        (
            "",
            "--esps-portal-reset=always",
            "--esps-portal-reset must be abort or keep, got *",
        ),
        (
            "esps_portal_port = -1",
            "",
            "esps_portal_port must be a number from 0 to 65535, got *",
        ),
        ("esps_portal_port = x", "", "esps_portal_port must be a number from 0 to 65535*x*"),
        ("esps_portal_strict = perhaps", "", "esps_portal_strict must be yes or no*perhaps*"),
    ],
)
def test_a_bad_value_is_an_error_of_one_line(
    pytester: pytest.Pytester, config: str, argument: str, message: str
) -> None:
    pytester.makeini(f"[pytest]\n{config}")
    result = run_here(pytester, *filter(None, [argument]))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    assert len([line for line in result.errlines if line]) == 1


def test_a_suite_without_portal_imports_nothing_heavy(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import sys

        def pytest_unconfigure():
            costly = {"trio", "attr", "attrs", "asyncio", "sniffio", "esps_portal"}
            print("LOADED", sorted(m for m in sys.modules if m.split(".")[0] in costly))
        """
    )
    pytester.makepyfile("def test_nothing(): pass")
    result = run(pytester, "-s")
    result.assert_outcomes(passed=1)
    ours = [".exports", ".given_numbers", ".no_attributes", ".testing"]
    plugin = (
        "calls_between_tests",
        "factory",
        "own_thread",
        "plugin",
        "portals_of_test",
        "session_listening",
        "settings",
    )
    ours += [*(f".testing.{name}" for name in plugin), ".tracebacks"]
    loaded = ["esps_portal", *(f"esps_portal{name}" for name in ours)]
    result.stdout.fnmatch_lines([f"LOADED {loaded}".replace("[", "[[]")])


def test_the_help_of_fixtures_and_marker(pytester: pytest.Pytester) -> None:
    place(pytester, SUITES / "plain.py")
    result = run_here(pytester, "--fixtures", "--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.esps_portal(strict): whether *"])
    result = run_here(pytester, "--fixtures")
    lines = ["esps_portal_address [[]session scope[]] -- *", "esps_portal -- *"]
    result.stdout.fnmatch_lines([*lines, "esps_portal_factory -- *", "esps_proxy -- *"])


@pytest.mark.parametrize("name", ["host", "port", "strict", "reset", "tls"])
def test_an_option_that_a_conftest_has_too_is_one_line(
    pytester: pytest.Pytester, name: str
) -> None:
    pytester.makeconftest(
        f"def pytest_addoption(parser): parser.addoption('--esps-portal-{name}', default='x')"
    )
    pytester.makepyfile("def test_one(): pass")
    run_pytest = run if name == "host" else run_here
    result = run_pytest(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not result.outlines
    message = (
        f"a conftest.py adds the option --esps-portal-{name}, which the plugin esps-portal has"
    )
    instead = "rename it, or use pytest without the plugin: -p no:esps_portal"
    assert [line for line in result.errlines if line] == [f"ERROR: {message}; {instead}"]
    run_pytest(pytester, "-p", "no:esps_portal").assert_outcomes(passed=1)


def test_another_error_of_a_conftest_is_its_own(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        def pytest_addoption(parser):
            parser.addoption("--mine", required=True)
            parser.addoption("--yours", type=int, default="no number")
        """
    )
    pytester.makepyfile("def test_one(): pass")
    result = run(pytester)
    assert not any("esps-portal" in line for line in result.errlines)
    run(pytester, "--mine=1", "--yours=2").assert_outcomes(passed=1)


def test_the_portal_of_the_session_speaks_tls(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nesps_portal_tls = yes")
    pytester.makepyfile(
        """
        import pytest
        from esps_portal import blocking

        def test_call(esps_portal, esps_portal_address):
            assert esps_portal_address.url == esps_portal.url
            assert esps_portal_address.tls_ca == esps_portal.tls_ca
            esps_portal.stub("price").reply("9.99")
            with blocking.connect(esps_portal.url, cafile=esps_portal.tls_ca) as client:
                assert client.call("price") == (b"9.99",)

        def test_no_udp(esps_portal_address):
            with pytest.raises(RuntimeError, match="not served over UDP"):
                esps_portal_address.udp_url

        def test_a_fault(esps_portal):
            fault = esps_portal.fault("certificate", problem="expired")
            with pytest.raises(ConnectionError, match="has expired"):
                with blocking.connect(esps_portal.url, cafile=esps_portal.tls_ca):
                    pass
            assert fault.happened == 1
        """
    )
    result = run_here(pytester)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["esps-portal: tls=yes"])


def test_tls_without_its_package_is_one_line(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    pytester.makepyfile("def test_one(esps_portal): pass")
    result = run_here(pytester, "--esps-portal-tls=yes")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["the portal of this test session: a certificate of its own needs *"]
    )
