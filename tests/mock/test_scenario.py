"""A scenario, read and applied to a portal, and to the portal of a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from esps_portal.faults.fault import Fault
from esps_portal.journal.values import ScenarioError
from esps_portal.mock.matching import ANY, ANY_ARGS
from esps_portal.mock.planned_fault import PlannedFault
from esps_portal.mock.scenario import Scenario
from esps_portal.mock.scenario_reading import (
    read_scenario,
    read_scenario_toml,
)
from esps_portal.mock.scenario_writing import scenario_to_toml
from esps_portal.mock.stubs import Stub
from esps_portal.patterns.linear import LinearPattern
from esps_portal.protocol.messages import ERR, OK
from esps_portal.testing import serve_in_thread
from tests.mock.scenarios import EVERY_KEY, portal


def placed(toml: str) -> Stub:
    """Return the one stub of a scenario, as a portal has it."""
    scripted = portal()
    read_scenario_toml(toml).apply(scripted)
    (stub,) = scripted.script.stubs.all
    return stub


def test_every_key_is_read() -> None:
    scenario = read_scenario_toml(EVERY_KEY)
    price, flaky, bare = scenario.stubs
    assert price.service == "price"
    exact, anything, text, raw, pattern, rest = price.args
    assert (exact, anything, raw, rest) == (b"a", ANY, b"\xff", ANY_ARGS)
    assert isinstance(text, LinearPattern)
    assert text.pattern == "[0-9]+"
    assert isinstance(pattern, LinearPattern)
    assert pattern.pattern == b"\xff"
    assert price.optional
    (answer,) = price.answers
    assert answer.steps == [(b"first", b"line"), 0.5, (), 1.0]
    assert (answer.kind, answer.args, answer.times, answer.closes) == (OK, (b"9.99",), 2, True)
    assert [(a.kind, a.args, a.times) for a in flaky.answers] == [
        (ERR, (b"busy",), 2),
        (ERR, (b"x-shop", b"sold out", b"\xff"), None),
        (OK, (b"two", b"words"), None),
    ]
    assert (bare.args, bare.answers, bare.optional) == ((), (), False)
    assert scenario.limits == {"max_in_flight": 8, "idle": 30}
    kinds = ["reset", "slice", "patch", "corrupt", "slice"]
    assert [fault.kind for fault in scenario.faults] == kinds


def test_a_file_that_an_editor_on_windows_has_saved() -> None:
    saved = read_scenario_toml("\ufeff" + EVERY_KEY.replace("\n", "\r\n"))
    assert scenario_to_toml(saved) == scenario_to_toml(read_scenario_toml(EVERY_KEY))


def test_a_stub_is_the_same_as_from_a_chain() -> None:
    ours = placed(
        'stubs = [{service = "x", args = ["a", {any = true}], more_args = true, optional = true,'
        ' answers = [{data = ["1", {delay = 0.5}], delay = 1, fail = ["busy", "now"], times = 2},'
        ' {reply = "done", then_close = true}]}]'
    )
    chain = Stub("x", ("a", ANY, ANY_ARGS), max_line=8192)
    chain.data("1").delay(0.5).delay(1).fail("busy", "now").times(2).reply("done").then_close()
    assert ours.answers == chain.answers
    assert ours.args_matcher == chain.args_matcher
    assert ours.is_optional


def test_a_fault_is_the_same_as_from_a_call() -> None:
    reset, _, patch, corrupt, _ = read_scenario_toml(EVERY_KEY).faults
    options = {"service": "echo", "transport": "tcp", "connection": [1, 3], "request": 2}
    assert str(reset.make()) == str(Fault.create("reset", **options, when="before", times=3))
    options = {"match": re.compile("(?i)sku-[0-9]"), "reply_match": "OK", "offset": 2, "age": 1.5}
    assert str(patch.make()) == str(Fault.create("patch", at=3, hex="8200", reply=2, **options))
    options = {"match": b"\x0d\x00\xff", "reply_match": re.compile(b"\xff")}
    assert str(corrupt.make()) == str(Fault.create("corrupt", at=4, **options))


def test_limits_have_hyphens_or_underscores() -> None:
    plain = {"limits": {"max-line": 1024, "max_in_flight": 2, "idle": 1}}
    assert read_scenario(plain).limits == {"max_line": 1024, "max_in_flight": 2, "idle": 1.0}


# ---- on a portal -------------------------------------------------------------------------------


def test_an_answer_that_is_too_long_for_a_line() -> None:
    long = "x" * 600
    for toml, path in [
        (f'stubs = [{{service = "a", reply = "{long}"}}]', "stubs[0]"),
        (f'stubs = [{{service = "a", data = ["{long}"]}}]', "stubs[0]"),
        (
            f'stubs = [{{service = "a", answers = [{{}}, {{fail = ["b", "{long}"]}}]}}]',
            "stubs[0].answers[1]",
        ),
    ]:
        scripted = portal(max_line=512)
        with pytest.raises(
            ScenarioError, match=re.escape(f"{path}: this answer would be a line of")
        ):
            read_scenario_toml(f'{toml}\nfaults = [{{fault = "reset"}}]').apply(scripted)
        assert not scripted.script.stubs.all, "all of it or nothing"
        assert not scripted.script.faults.in_force


def test_limits_of_a_running_portal_cannot_change() -> None:
    scenario = read_scenario_toml("limits = {idle = 30}")
    with pytest.raises(ScenarioError, match=r"^limits\.idle: a portal gets its limits when it st"):
        scenario.apply(portal())
    scenario.apply(portal(idle=30))


def test_a_scenario_may_be_applied_twice() -> None:
    scenario, scripted = read_scenario_toml(EVERY_KEY), portal(max_in_flight=8, idle=30)
    scenario.apply(scripted)
    for stub in scripted.script.stubs.all:
        stub.reply("more")
    assert [len(stub.answers) for stub in scenario.stubs] == [1, 3, 0]
    scenario.apply(scripted)
    assert len(scripted.script.stubs.all) == 6
    assert len({id(fault) for fault in scripted.script.faults.in_force}) == 10


def test_a_random_seed_is_dumped() -> None:
    for kind in ("reset", "garbage"):  # garbage has a seed of its own, and it is the same
        scripted = portal()
        (fault,) = Scenario(faults=(PlannedFault(kind, {"chance": 0.5}),)).apply(scripted)
        assert f"seed={fault.seed}" in str(fault)
        (again,) = read_scenario_toml(scenario_to_toml(Scenario.of(scripted))).faults
        assert str(again.make()) == str(fault)


# ---- in a test suite ---------------------------------------------------------------------------


def test_a_running_portal_loads_and_dumps(tmp_path: Path) -> None:
    text = '[[stubs]]\nservice = "price"\nargs = ["sku-1"]\nreply = "9.99"\n'
    path = tmp_path / "shop.toml"
    path.write_text(text)
    with serve_in_thread() as running:
        for given_as in (text, path, str(path)):
            running.load(given_as)
            assert running.dump().startswith(text)
        assert running.dump() == "\n".join([text] * 3)
        running.load('faults = [{fault = "reset"}]')
        assert "[[faults]]" in running.dump()
        with pytest.raises(ScenarioError, match=r"^stubs\[0\]\.service: "):
            running.load("[[stubs]]")
        with pytest.raises(FileNotFoundError):
            running.load("nowhere.toml")
        running.stub("x", bytes.isdigit)
        with pytest.raises(ScenarioError, match="predicate"):
            running.dump()
