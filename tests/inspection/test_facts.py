from __future__ import annotations

import socket
from pathlib import Path

import pytest

from esps_portal.inspection.facts import Assignment, look_up, unprivileged_port_start


def test_the_facts_of_2867() -> None:
    facts = look_up(2867)
    assert facts.iana == Assignment("esps-portal", ("tcp", "udp"), "Nicholas Stowfis")
    assert (facts.range_name, facts.first, facts.last) == ("registered", 1024, 49151)
    assert set(facts.services) == {"tcp", "udp"}
    assert facts.services["tcp"] in {None, "esps-portal"}


@pytest.mark.parametrize(
    ("port", "name"),
    [
        (0, "well-known"),
        (1023, "well-known"),
        (1024, "registered"),
        (49151, "registered"),
        (49152, "dynamic"),
        (65535, "dynamic"),
    ],
)
def test_every_number_has_its_range(port: int, name: str) -> None:
    facts = look_up(port)
    assert facts.range_name == name
    assert facts.first <= port <= facts.last
    assert facts.iana is None


def test_the_services_database_is_this_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(port: int, transport: str) -> str:
        if transport == "udp":
            raise OSError("port/proto not found")
        return f"name-{port}"

    monkeypatch.setattr(socket, "getservbyport", look)
    assert look_up(7).services == {"tcp": "name-7", "udp": None}


@pytest.mark.parametrize(("text", "first"), [("80\n", 80), ("0\n", 0), ("what\n", 1024)])
def test_the_kernel_says_which_ports_need_root(tmp_path: Path, text: str, first: int) -> None:
    setting = tmp_path / "setting"
    setting.write_text(text, encoding="ascii")
    assert unprivileged_port_start(setting) == first


def test_a_system_without_the_setting_has_the_usual_limit(tmp_path: Path) -> None:
    assert unprivileged_port_start(tmp_path / "none") == 1024
