"""The container file and the Compose file: linted, and their commands run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest

import esps_portal
from esps_portal.deployment.kinds import KINDS
from tests.commands import run
from tests.optional import package
from tests.processes import RunningServer, running_server

KIND = KINDS["container"]


def instructions() -> Iterator[tuple[str, str]]:
    """Yield each instruction of the container file, its lines joined."""
    lines = [line for line in KIND.read("Containerfile").splitlines() if not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, rest.strip()


def last(name: str) -> str:
    return [rest for found, rest in instructions() if found == name][-1]


def health_check() -> list[str]:
    _, _, command = last("HEALTHCHECK").partition("CMD ")
    return list(json.loads(command))


@pytest.fixture(scope="module")
def service() -> dict[str, object]:
    """Return the service of the Compose file, as its specification reads it."""
    compose_spec = package("compose_spec", "deployment")  # no other test waits for it
    compose = compose_spec.PyCompose.from_yaml(KIND.read("compose.yaml"))
    services = compose.to_dict()["services"]
    assert list(services) == ["esps-portal"]
    return dict(services["esps-portal"])


def test_the_container_file_is_linted(tool: Callable[[str], str]) -> None:
    ran = subprocess.run(
        [tool("hadolint"), "--failure-threshold", "style", "-"],
        input=KIND.read("Containerfile"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def test_it_is_this_version() -> None:
    version = esps_portal.__version__
    assert last("ARG") == f'ESPS_PORTAL="esps-portal[metrics]=={version}"'
    assert f"image: esps-portal:{version}\n" in KIND.read("compose.yaml")


def test_it_is_not_root_and_its_commands_are_lists() -> None:
    user, _, group = last("USER").partition(":")
    assert int(user) > 0 < int(group)
    for name in ("ENTRYPOINT", "CMD"):
        assert isinstance(json.loads(last(name)), list), "a shell would keep the signals"
    assert last("EXPOSE") == "2867/tcp 2867/udp"


@pytest.mark.parametrize("whose", ["container", "compose"])
def test_its_command_serves_and_its_health_is_that_of_the_portal(
    whose: str, service: dict[str, object]
) -> None:
    command = json.loads(last("CMD")) if whose == "container" else service["command"]
    assert isinstance(command, list)
    name, *options = command
    with running_server(*options, command=name) as running:
        assert {host for host, _ in running.ready["tcp"]} == {"0.0.0.0"}  # type: ignore[attr-defined]  # JSON
        assert healthy(running) == 0
    assert healthy(running) == 1


def healthy(running: RunningServer) -> int:
    """Return the exit code of the health check; in the container the port is the default."""
    program, *args = health_check()
    assert [program] == json.loads(last("ENTRYPOINT"))
    return run(*args, url=running.url)[0]


def test_compose_publishes_both_transports_of_a_container_without_rights(
    service: dict[str, object],
) -> None:
    ports = service["ports"]
    assert isinstance(ports, list)
    assert {(p["target"], str(p["published"]), p["protocol"]) for p in ports} == {
        (2867, "2867", "tcp"),
        (2867, "2867", "udp"),
    }
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
