from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench.aims import Aim, ratio, summary
from tests.bench.growth import decades
from tests.bench.machine import child, compiled, first_line
from tests.bench.svg import Panel, svg

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.heavy
def test_the_command_compares_and_plots(tool: Callable[[str], str], tmp_path: Path) -> None:
    tool("gcc")
    plot = tmp_path / "plot.svg"
    sizes = "--seconds 0.05 --repeat 1 --connections 20 --requests 100".split()
    command = [sys.executable, "-m", "tests.bench", *sizes, "--only", "growth", "--plot", str(plot)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1].endswith("of 4 aims met")
    drawn = ET.parse(plot)  # noqa: S314 - we have written it
    lines = drawn.findall(f".//{SVG}polyline")
    # 1, 10 and 20 connections; up to the 10th and the 100th request. A line for each server.
    assert [len(line.attrib["points"].split()) for line in lines] == [3] * 3 + [2] * 3


def test_the_load_generator_counts_replies(tool: Callable[[str], str], tmp_path: Path) -> None:
    tool("gcc")
    program = compiled(Path(__file__).with_name("load.c"), tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # One connection, one request at a time, for a minute or two replies, after a greeting.
        with child(program, "tcp", "127.0.0.1", port, 1, 1, 60, "PING", 1, 2) as load:
            peer = listener.accept()[0]
            with peer:
                peer.sendall(b"* a greeting\n")
                for number in range(2):
                    assert peer.recv(100) == b"t%d PING\n" % number
                    peer.sendall(b"x OK\n")
                rate, median, p99, lost, first = map(float, first_line(load).split())
    assert min(rate, first) > 0
    assert (lost, median <= p99) == (0, True)


@pytest.mark.parametrize(
    ("figure", "is_limit", "verdict"),
    [
        (1.0, False, "met"),
        (0.996, False, "met"),
        (0.99, False, "missed"),
        (1.004, True, "met"),
        (1.01, True, "missed"),
        (None, False, "not measured"),
    ],
)
def test_whether_an_aim_is_met(figure: float | None, is_limit: bool, verdict: str) -> None:
    aim = Aim("x", figure, 1.0, is_limit=is_limit)
    assert aim.verdict == verdict
    assert verdict in str(aim)


def test_a_summary_counts_what_is_met() -> None:
    aims = [Aim("x", 2.0, 1.0), Aim("y", 0.5, 1.0), Aim("z", None, 1.0)]
    assert summary(aims)[-1] == "1 of 3 aims met"


def test_a_ratio_needs_both_figures() -> None:
    assert (ratio(3.0, 2.0), ratio(3.0, None), ratio(0.0, 2.0)) == (1.5, None, None)


def test_decades_end_with_the_last() -> None:
    assert (decades(1), decades(100), decades(250)) == ([1], [1, 10, 100], [1, 10, 100, 250])


def test_a_plot_places_points_on_its_axes() -> None:
    panel = Panel("<title>", "x", "y", {"a": [(1.0, 0.0), (10.0, 50.0), (100.0, 100.0)]})
    drawn = ET.fromstring(svg([panel]))  # noqa: S314 - we have written it
    (line,) = drawn.findall(f".//{SVG}polyline")
    (left, low), middle, (right, high) = (
        tuple(map(float, point.split(","))) for point in line.attrib["points"].split()
    )
    assert middle == ((left + right) / 2, (low + high) / 2)
    assert left < right
    assert high < low
    texts = [text.text for text in drawn.findall(f".//{SVG}text")]
    assert texts[0] == "<title>"
    assert {"1", "10", "100", "0", "20", "40", "60", "80"} <= set(texts)
