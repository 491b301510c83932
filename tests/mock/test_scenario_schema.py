"""The JSON Schema of scenario files takes what the reader takes, and has its names."""

from __future__ import annotations

import tomllib

import attrs
import pytest
from jsonschema import Draft202012Validator

from esps_portal.faults.fault_types import FAULT_TYPES, SELECTORS
from esps_portal.mock.scenario_reading import read_scenario_toml
from esps_portal.mock.scenario_schema import scenario_schema
from esps_portal.protocol.limits import Limits
from tests.cases import cases
from tests.mock.scenarios import EVERY_KEY, PROXIES

SCHEMA = scenario_schema()
HYPHENS = """
limits = { max-line = 600, idle = 5 }
stubs = [{ service = "a", data = ["x", ["y", { b64 = "/w==" }]], delay = 1, reply = [] }]
faults = [{ fault = "latency", seconds = 1, reply = [0, 1], match = { hex = "0d 0A" } }]
"""
VALIDATOR = Draft202012Validator(SCHEMA)


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("toml", [EVERY_KEY, PROXIES, HYPHENS])
def test_what_a_person_writes_fits_it(toml: str) -> None:
    VALIDATOR.validate(tomllib.loads(toml))


@cases(
    "toml",
    [
        "stub = []",
        "stubs = 1",
        "stubs = [{}]",
        'stubs = [{service = "A"}]',
        'stubs = [{service = "a", b = 1}]',
        'stubs = [{service = "a", times = 0}]',
        'stubs = [{service = "a", reply = "1", fail = "b"}]',
        'stubs = [{service = "a", reply = "1", answers = []}]',
        'stubs = [{service = "a", args = [{any = false}]}]',
        'stubs = [{service = "a", fail = []}]',
        'stubs = [{service = "a", answers = [{service = "b"}]}]',
        "faults = [{}]",
        'faults = [{fault = "rest"}]',
        'faults = [{fault = "reset", seconds = 1}]',
        'faults = [{fault = "latency"}]',
        'faults = [{fault = "accept-close", match = "x"}]',
        'faults = [{fault = "reset", times = 0}]',
        'faults = [{fault = "reset", match = ""}]',
        'faults = [{fault = "reset", match = {hex = "0"}}]',
        'faults = [{fault = "reset", to = "both"}]',
        'faults = [{fault = "reset", chance = 2}]',
        'faults = [{fault = "patch", at = 1, hex = "zz"}]',
        "limits = {max-lin = 600}",
        "limits = {max-line = 0}",
        "limits = {idle = -1}",
        'proxies = [{name = "a"}]',
        'proxies = [{name = "1", upstream = "tcp://a:1"}]',
        'proxies = [{name = "a", upstream = "tcp://a:1", reply_framing = "lines:lf"}]',
        'proxies = [{name = "a", upstream = "tcp://a:1", port = 1}]',
    ],
)
def test_both_refuse_what_is_wrong(toml: str) -> None:
    assert not VALIDATOR.is_valid(tomllib.loads(toml))
    with pytest.raises(ValueError, match=r"\w+"):
        read_scenario_toml(toml)


def test_it_has_the_names_of_all_faults() -> None:
    fault = SCHEMA["$defs"]["FaultKeys"]
    assert fault["properties"]["fault"]["enum"] == list(FAULT_TYPES)
    parameters = {name for kind in FAULT_TYPES.values() for name in kind.parameters}
    assert set(fault["properties"]) == {"fault", "optional", *SELECTORS, *parameters}
    for rule, (name, kind) in zip(fault["allOf"], FAULT_TYPES.items(), strict=True):
        assert rule["if"]["properties"]["fault"]["const"] == name
        excluded = {key for key, value in rule["then"]["properties"].items() if value is False}
        allowed = set(fault["properties"]) - excluded
        assert allowed == {"fault", "optional", *kind.parameters, *kind.selectors}


def test_it_has_the_names_of_all_limits() -> None:
    names = [field.name for field in attrs.fields(Limits)]
    both = {name.replace("_", "-") for name in names} | set(names)
    assert set(SCHEMA["$defs"]["Limits"]["properties"]) == both
