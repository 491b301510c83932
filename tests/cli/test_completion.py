"""What a shell completes, by the protocol of click, and by the function that bash is given."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from esps_portal.cli import main
from esps_portal.cli.completion import complete_service
from esps_portal.faults.fault_types import SELECTORS, VOCABULARY
from esps_portal.testing import serve_in_thread
from esps_portal.testing.threaded import ThreadedPortal
from tests.cli.peers import GREETING, nobody, saying

COMMAND = Path(sys.executable).parent / "esps-portal"


@pytest.fixture(scope="module")
def portal() -> Iterator[ThreadedPortal]:
    with serve_in_thread() as running:
        yield running


def completed(line: str, shell: str = "bash", url: str = "") -> list[str]:
    """Return what a shell is told of ``line``, up to the cursor at its end."""
    words = line.split(" ")
    environment = {
        "_ESPS_PORTAL_COMPLETE": f"{shell}_complete",
        "ESPS_PORTAL_URL": url or None,
        "COMP_LINE": f"esps-portal {line}" if shell == "bash" else None,
        "COMP_WORDS": f"esps-portal {line}",
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
    }
    ran = CliRunner().invoke(main, [], prog_name="esps-portal", env=environment)
    assert (ran.exit_code, ran.stderr) == (0, "")
    return list(filter(None, ran.stdout.splitlines()))


def test_commands_options_and_choices() -> None:
    assert completed("se") == ["plain,serve"]
    assert completed("ping --cou") == ["plain,--count"]
    assert completed("spec ab") == ["plain,abnf"]
    assert completed("nonsense --u") == []


# ---- services ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "esps://127.0.0.1:{}", "esps+udp://127.0.0.1:{}"])
def test_services_are_asked_for(portal: ThreadedPortal, form: str) -> None:
    url = form.format(portal.port)
    assert completed("call ec", url=url) == ["plain,echo"]
    assert completed(f"call --url {url} ec") == ["plain,echo"]
    assert completed(f"call --url={url} ec") == ["plain,echo"]
    assert completed(f"list --json --url {url} st") == ["plain,stats", "plain,stall"]
    assert completed(f"call --url {url} echo ec") == []


@pytest.mark.parametrize(
    ("shell", "shown"), [("zsh", ["plain", "echo", "_"]), ("fish", ["plain,echo"])]
)
def test_in_other_shells_too(portal: ThreadedPortal, shell: str, shown: list[str]) -> None:
    assert completed("call ec", shell, url=portal.url) == shown
    assert completed(f"call --url {portal.url} ec", shell) == shown


def test_a_script_that_was_kept_from_before(portal: ThreadedPortal) -> None:
    environment = {
        "_ESPS_PORTAL_COMPLETE": "bash_complete",
        "COMP_WORDS": "esps-portal call ec",
        "COMP_CWORD": "2",
        "ESPS_PORTAL_URL": portal.url,
    }
    ran = CliRunner().invoke(main, [], prog_name="esps-portal", env=environment)
    assert ran.stdout == "plain,echo\n"


def test_what_cannot_be_asked_completes_nothing() -> None:
    with nobody() as where:
        assert completed("call ec", url=where) == []
    assert completed("call ec", url="http://x") == []
    with saying("SSH-2.0-x\r\n") as url:
        assert completed("call ec", url=url) == []


def test_a_person_does_not_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esps_portal.cli.completion._PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = "esps://{}:{}".format(*silent.getsockname())
        assert completed("call ec", url=url) == []


def test_nor_for_a_host_that_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which blocks, and takes no time-out."""
    release, found = threading.Event(), threading.Event()

    def look_up(*_: object, **__: object) -> object:
        release.wait(30)
        found.set()
        raise OSError

    monkeypatch.setattr("esps_portal.cli.completion._PATIENCE", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert completed("call ec", url="esps://slow.invalid") == []
    assert not found.is_set()
    release.set()
    assert found.wait(30)


def test_nothing_of_a_strangers_reaches_the_shell() -> None:
    with saying(GREETING, "OK echo $(reboot) a%0Ab %1B[2J Echo good-1") as url:
        assert completed("call ", url=url) == ["plain,echo", "plain,good-1"]


# ---- files and faults --------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["serve", "run"])
@pytest.mark.parametrize("option", ["--scenario", "--replay", "--record"])
def test_files(command: str, option: str) -> None:
    assert completed(f"{command} {option} ca") == ["file,ca"]
    assert completed(f"{command} {option}=ca") == ["file,ca"]


def test_a_proxy_records_to_a_file() -> None:
    assert completed("proxy --upstream 127.0.0.1:9 --record ca") == ["file,ca"]


def test_faults_and_their_parameters() -> None:
    assert completed("serve --fault la") == ["plain,latency"]
    assert completed("serve --fault=la") == ["plain,latency"]
    assert completed('serve --fault "latency se') == [
        "plain,latency seconds=",
        "plain,latency service=",
        "plain,latency seed=",
    ]
    assert "plain,latency seconds=" not in completed('serve --fault "latency seconds=1 ')
    assert "plain,latency seconds=1 jitter=" in completed('serve --fault "latency seconds=1 ')
    assert completed("serve --fault 'reset when=") == [
        "plain,reset when=before",
        "plain,reset when=after",
    ]
    assert completed('serve --fault "truncate when=') == ["plain,truncate when=after"]
    assert completed('serve --fault "drop transport=') == ["plain,drop transport=udp"]
    assert completed('serve --fault "accept-close se') == ["plain,accept-close seed="]
    assert completed('serve --fault "nonsense ') == []


def test_what_is_offered_of_a_fault_is_taken() -> None:
    """A word that was completed is a parameter of that fault, for every fault."""
    for name, fault in VOCABULARY.items():
        offered = {
            item.split()[-1].partition("=")[0] for item in completed(f'run --fault "{name} ')
        }
        assert offered <= {*fault.parameters, *SELECTORS}
        assert offered >= {*fault.parameters}


def test_a_shell_that_has_gone_is_silence() -> None:
    with subprocess.Popen(
        [COMMAND],
        env={**os.environ, "_ESPS_PORTAL_COMPLETE": "bash_complete", "COMP_LINE": "esps-portal "},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, b"")


# ---- bash itself -------------------------------------------------------------------------------


def test_in_bash_itself(portal: ThreadedPortal) -> None:
    """Its words are taken apart at ``:``, and the line is not."""
    host, port = portal.host, portal.port
    script = f"""
        eval "$(_ESPS_PORTAL_COMPLETE=bash_source {COMMAND})"
        COMP_WORDS=(esps-portal call --url {host} : {port} ec)
        COMP_CWORD=6
        COMP_LINE="esps-portal call --url {host}:{port} ec and more"
        COMP_POINT=$((${{#COMP_LINE}} - 9))
        _esps_portal_completion {COMMAND}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    ran = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert (ran.stdout, ran.stderr) == ("echo\n", "")


def test_the_portal_is_the_local_one_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def connect(url: str, **_: object) -> object:
        asked.append(url)
        raise ValueError

    monkeypatch.setattr("esps_portal.blocking.connect", connect)
    context = click.Context(click.Command("x"))
    assert complete_service(context, click.Argument(["service"]), "") == []
    assert asked == ["esps://127.0.0.1:2867"]
