"""Errors in a scenario name the key."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Collection, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esps_portal.faults.fault_types import FAULT_TYPES, SELECTORS
from esps_portal.journal.values import ScenarioError, read_json
from esps_portal.mock.planned_fault import read_fault
from esps_portal.mock.scenario_reading import (
    read_scenario,
    read_scenario_toml,
    read_stub,
)
from tests.cases import cases

LONG_KEY = "k" * 9999
MANY_KEYS = json.dumps({str(n): 0 for n in range(60_000)})


@contextlib.contextmanager
def in_no_time() -> Iterator[None]:
    """Fail where the block takes seconds; it should take milliseconds."""
    before = time.process_time()
    yield
    assert time.process_time() - before < 2


CASES = [
    ("stub = []", "stub: unknown key; choose from stubs, faults, limits, proxies, peers"),
    ("stubs = 1", "stubs: must be a list, got 1"),
    ("stubs = [1]", "stubs[0]: must be a table of keys and values, got 1"),
    ("[[stubs]]", "stubs[0].service: this key is required"),
    ('stubs = [{service = "A"}]', "stubs[0].service: must be a name (a-z, then up to 63 of"),
    (
        'stubs = [{service = "a", "b c" = 1}]',
        'stubs[0]."b c": unknown key; choose from service',
    ),
    ('stubs = [{service = "a", args = "x"}]', 'stubs[0].args: must be a list, got "x"'),
    (
        'stubs = [{service = "a", args = [1]}]',
        "stubs[0].args[0]: must be text, or a table with b64, any or",
    ),
    (
        'stubs = [{service = "a", args = [{any = false}]}]',
        "stubs[0].args[0].any: must be true, got false",
    ),
    (
        'stubs = [{service = "a", args = [{}]}]',
        "stubs[0].args[0]: must be exactly one of b64, any, regex",
    ),
    (
        'stubs = [{service = "a", args = ["", {b64 = "x"}]}]',
        "stubs[0].args[1]: must be base64 in b64, got",
    ),
    ('stubs = [{service = "a", args = [{regex = "("}]}]', "stubs[0].args[0].regex: not a regular"),
    ('stubs = [{service = "a", args = [{regex = 1}]}]', "stubs[0].args[0].regex: must be text, or"),
    (
        'stubs = [{service = "a", args = [{regex = "(?=a)"}]}]',
        "stubs[0].args[0].regex: cannot be searched in one pass: ASSERT",
    ),
    (
        'proxies = [{name = "a", upstream = "tcp://127.0.0.1:1", framing = "matching:(a+)+$"}]',
        "proxies[0].framing: matching:(a+)+$: cannot be searched in one pass, which a file and",
    ),
    (
        'peers = [{name = "a", framing = "matching:(a{1,99}){99}b"}]',
        "peers[0].framing: matching:(a{1,99}){99}b: cannot be searched in one pass, which a file",
    ),
    (
        'stubs = [{service = "a", more_args = 1}]',
        "stubs[0].more_args: must be true or false, got 1",
    ),
    (
        'stubs = [{service = "a", reply = 1}]',
        'stubs[0].reply: must be text, or {"b64": "..."}, got 1',
    ),
    ('stubs = [{service = "a", reply = ["", 1]}]', "stubs[0].reply[1]: must be text, or"),
    (
        'stubs = [{service = "a", fail = []}]',
        "stubs[0].fail: must be an error code, and text, got []",
    ),
    ('stubs = [{service = "a", fail = "No"}]', "stubs[0].fail: must be a name"),
    ('stubs = [{service = "a", fail = ["No"]}]', "stubs[0].fail[0]: must be a name"),
    ('stubs = [{service = "a", fail = ["no", 1]}]', "stubs[0].fail[1]: must be text, or"),
    (
        'stubs = [{service = "a", fail = "b", reply = ""}]',
        "stubs[0].fail: an answer has either reply",
    ),
    ('stubs = [{service = "a", data = [1]}]', "stubs[0].data[0]: must be text, or"),
    (
        'stubs = [{service = "a", data = [{delay = -1}]}]',
        "stubs[0].data[0].delay: must be seconds, 0 or",
    ),
    (
        'stubs = [{service = "a", delay = nan}]',
        "stubs[0].delay: must be seconds, 0 or more, got NaN",
    ),
    (
        'stubs = [{service = "a", delay = true}]',
        "stubs[0].delay: must be seconds, 0 or more, got true",
    ),
    (
        f'stubs = [{{service = "a", delay = 1{"0" * 400}}}]',
        "stubs[0].delay: must be seconds, 0 or more, got",
    ),
    ('stubs = [{service = "a", times = 0}]', "stubs[0].times: must be a positive integer, got 0"),
    (
        'stubs = [{service = "a", answers = [{}, {times = "x"}]}]',
        'stubs[0].answers[1].times: must be a positive integer, got "x"',
    ),
    (
        'stubs = [{service = "a", answers = [{service = "b"}]}]',
        "stubs[0].answers[0].service: unknown key; choose from reply, fail, data, delay,",
    ),
    (
        'stubs = [{service = "a", times = 1, answers = []}]',
        "stubs[0].times: move it into one of the",
    ),
    ("faults = [{}]", "faults[0].fault: this key is required"),
    ("faults = [{fault = 1}]", "faults[0].fault: must be text, got 1"),
    (
        'faults = [{fault = "rest"}]',
        "faults[0].fault: unknown fault 'rest'; did you mean 'reset'?",
    ),
    (
        'faults = [{fault = "reset", seconds = 1}]',
        "faults[0].seconds: fault 'reset' has no parameter 'seconds'; choose from service",
    ),
    (
        'faults = [{fault = "reset", "a\\u001b" = 1}]',
        "faults[0].\"a\\u001b\": fault 'reset' has no parameter 'a\\x1b'; choose from service",
    ),
    (
        'faults = [{fault = "reset", optional = 1}]',
        "faults[0].optional: must be true or false, got 1",
    ),
    (
        'faults = [{fault = "reset", times = "x"}]',
        "faults[0].times: times must be a positive",
    ),
    ('faults = [{fault = "reset", seed = 1}]', "faults[0].seed: seed needs chance"),
    (
        'faults = [{fault = "reset", when = "now"}]',
        "faults[0].when: when must be 'before' or",
    ),
    (
        'faults = [{fault = "drop", transport = "tcp"}]',
        "faults[0].transport: fault 'drop' works over UDP only",
    ),
    ('faults = [{fault = "latency"}]', "faults[0]: fault 'latency' needs seconds"),
    (
        'faults = [{fault = "latency", seconds = "x"}]',
        "faults[0].seconds: fault 'latency': s",
    ),
    (
        f'faults = [{{fault = "latency", seconds = 1{"0" * 400}}}]',
        "faults[0].seconds: fault 'latency': sec",
    ),
    (
        'faults = [{fault = "reset", match = 1}]',
        "faults[0].match: must be text, {regex = ...} or {hex = ...}, got 1",
    ),
    (
        'faults = [{fault = "reset", reply_match = {b64 = "/w=="}}]',
        "faults[0].reply_match: must be text, {regex = ...} or {hex = ...}, got",
    ),
    (
        'faults = [{fault = "reset", match = {regex = "a", hex = "00"}}]',
        "faults[0].match: must be text, {regex = ...} or {hex = ...}, got",
    ),
    (
        'faults = [{fault = "reset", match = {hex = "123"}}]',
        "faults[0].match.hex: must be bytes in hexadecimal, two digits each, got",
    ),
    (
        'faults = [{fault = "reset", match = {hex = 12}}]',
        "faults[0].match.hex: must be bytes in hexadecimal, two digits each, got 12",
    ),
    (
        'faults = [{fault = "reset", match = {regex = "("}}]',
        "faults[0].match.regex: not a regular expression: ",
    ),
    ('faults = [{fault = "reset", match = ""}]', "faults[0].match: match must not be empty"),
    (
        'faults = [{fault = "reset", to = "server"}]',
        "faults[0].to: to='server' is for a proxy: no server is behind this portal",
    ),
    (
        'faults = [{fault = "corrupt", unit = "connection"}]',
        "faults[0].unit: fault 'corrupt' needs the end of a reply: leave out unit='connection'",
    ),
    (
        'faults = [{fault = "patch", at = 1, hex = 8200}]',
        "faults[0].hex: fault 'patch': hex must be bytes in hexadecimal, two digits each",
    ),
    ("limits = 1", "limits: must be a table of keys and values, got 1"),
    ("limits = {lines = 1}", "limits.lines: unknown key; choose from max_line, max_reply"),
    ('limits = {max-line = "x"}', 'limits.max-line: must be an integer, got "x"'),
    ("limits = {max-line = true}", "limits.max-line: must be an integer, got true"),
    ("limits = {max-line = 1}", "limits.max-line: max_line must be at least 512, got 1"),
    ("limits = {max_line = 100000}", "limits.max_line: max_unterminated must be greater"),
    ("limits = {idle = inf}", "limits.idle: must be seconds, 0 or more, got Infinity"),
    ("limits = {max-line = 600, max_line = 600}", "limits.max_line: duplicate key"),
    ("a = 1\nb =", "not TOML: Invalid value (at end of document)"),
    ("a = 1\nb = ,\n", "not TOML: Invalid value (at line 2, column 5)"),
    ("[[stubs]]\nservice = 'a'\nservice = 'b'\n", "not TOML: Cannot overwrite a value (at line 3"),
]


def assert_refused(toml: str, says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        read_scenario_toml(toml)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@cases(("toml", "says"), CASES)
def test_an_error_names_its_key(toml: str, says: str) -> None:
    assert_refused(toml, says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON: "),
        ("1" * 5000, "not JSON: an integer of 5000 digits; at most 309 are accepted"),
        ("-" + "1" * 310, "not JSON: an integer of 311 digits"),
        ("[NaN]", "not JSON: NaN is not a JSON number"),
        ("-Infinity", "not JSON: -Infinity is not a JSON number"),
        ("[" * 100_000, "tables and lists are nested deeper than 64"),
        ('{"a":' * 66 + "1" + "}" * 66, "tables and lists are nested deeper than 64"),
        (b'{"a": "\xff"}', "not JSON: not UTF-8 at byte 7"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', 'not JSON: duplicate key "c"'),
        (f'{{"{LONG_KEY}": 1, "{LONG_KEY}": 2}}', 'not JSON: duplicate key "kkkkkk'),
        (MANY_KEYS.replace("}", ', "0": 1}'), 'not JSON: duplicate key "0"'),
    ],
    ids=lambda text: repr(text)[:40],
)
def test_text_that_is_not_json(text: str | bytes, says: str) -> None:
    with in_no_time(), pytest.raises(ScenarioError, match=re.escape(says)) as caught:
        read_json(text)
    assert len(str(caught.value)) < 400


def test_deep_nesting_is_no_error_of_python() -> None:
    """Near Python's own limit a value can be read, and its repr cannot be made."""
    for depth in (*range(60, 70), *range(950, 1010), 5000):
        value = "[" * depth + "]" * depth
        with pytest.raises(ScenarioError):
            read_fault(read_json(f'{{"fault": "reset", "times": {value}}}'))
        with pytest.raises(ScenarioError):
            read_scenario_toml(f'[[faults]]\nfault = "reset"\ntimes = {value}')


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("a" + ".a" * 100_000 + " = 1", "not TOML: a key of more than 32 parts"),
        ("[a" + " . a-1" * 40 + "]", "not TOML: a key of more than 32 parts"),
        ("a" + '."b.c"' * 40 + " = 1", "not TOML: a key of more than 32 parts"),
        ("a" * 1_000_000, "not TOML: "),
        ('"' * 1_000_000, "not TOML: "),
        ("a = " + "1" * 5000, "not TOML: an integer of thousands of digits"),
        (
            "limits = {idle = 0x" + "f" * 5000 + "}",
            "limits.idle: must be seconds, 0 or more, got a number of thousands of digits",
        ),
        ("\n".join(f"k{n} = 0" for n in range(5000)) + "\nk0 = 1", "not TOML: "),
        (f"{'k' * 9999} = 1", '"kkkkkk'),
    ],
    ids=lambda text: text[:20],
)
def test_text_that_is_not_toml(toml: str, says: str) -> None:
    with in_no_time(), pytest.raises(ScenarioError) as caught:
        read_scenario_toml(toml)
    assert str(caught.value).startswith(says)
    assert len(str(caught.value)) < 400


def test_dots_in_text_make_no_key() -> None:
    name = ".".join("1234567890abcdef" * 4)
    long, literal = '"' * 3, "'" * 3
    scenario = read_scenario_toml(
        f"# {name}\n[[stubs]]  # {name} \"\nservice = 'ptr'\n"
        f'args = ["{name}", \'{name}\', {literal}\n {name}{literal}, "\\"{name}\\\\"]\n'
        f"reply = {long}{name}{long}"
    )
    assert scenario.stubs[0].args[0] == name.encode()
    assert len(scenario.stubs[0].args) == 4


PROXY = "name = 'a', upstream = 'tcp://a:1'"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("", "proxies[0].name: this key is required"),
        ("name = 'a'", "proxies[0].upstream: this key is required"),
        ("name = 'a', upstream = 1", "proxies[0].upstream: must be text, got 1"),
        ("name = '1a'", "proxies[0].name: must be a name (a letter, then up to 63 letters,"),
        ("name = 'a b'", "proxies[0].name: must be a name"),
        ("name = 1", "proxies[0].name: must be a name"),
        (
            f"{PROXY}, port = 1",
            "proxies[0].port: unknown key; choose from name, upstream, framing,",
        ),
        (f"{PROXY}, framing = 'line'", "proxies[0].framing: unknown framing 'line'; did you mean"),
        (f"{PROXY}, framing = 1", "proxies[0].framing: must be text, got 1"),
        (f"{PROXY}, reply_framing = 'lines'", "proxies[0].reply_framing: give framing as well"),
        (f"{PROXY}, framing = 'lines', reply_framing = 'x'", "proxies[0].reply_framing: unknown"),
        (f"{PROXY}, faults = 1", "proxies[0].faults: must be a list, got 1"),
        (f"{PROXY}, faults = [{{}}]", "proxies[0].faults[0].fault: this key is required"),
        (
            f"{PROXY}, faults = [{{fault = 'reset'}}, {{fault = 'reset', ofset = 1}}]",
            "proxies[0].faults[1].ofset: ",
        ),
        (f"{PROXY}}}, {{{PROXY}", "proxies[1].name: 'a' is used before: both would be ESPS_"),
        (
            f"name = 'a-b', upstream = ''}}, {{{PROXY}}}, {{name = 'A_b', upstream = ''",
            "proxies[2].name: too close to 'a-b': both would be ESPS_PORTAL_A_B_HOST",
        ),
    ],
)
def test_an_error_in_a_proxy_names_its_key(table: str, says: str) -> None:
    assert_refused(f"proxies = [{{{table}}}]", says)


def test_an_unpaired_surrogate_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"^reply: must be text without unpaired"):
        read_stub(read_json('{"service": "a", "reply": "\\ud800"}'))
    with pytest.raises(ScenarioError, match=r"^service: must be a name"):
        read_stub(read_json('{"service": "a\\ud800"}'))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
keys = st.sampled_from(
    [
        "stubs",
        "faults",
        "limits",
        "service",
        "args",
        "reply",
        "fault",
        "times",
        "b64",
        "any",
        "data",
    ]
)


@given(json_values | st.dictionaries(keys, json_values, max_size=4))
def test_any_value_is_read_or_refused(value: object) -> None:
    for read in (read_scenario, read_stub, read_fault):
        is_refused(read, value)


# What is read, and the keys that it has besides.
TABLES: list[tuple[Callable[[object], object], dict[str, object], Collection[str]]] = [
    (read_scenario, {}, ["stubs", "faults", "limits", "proxies", "peers"]),
    (read_stub, {"service": "a"}, ["args", "reply", "fail", "data", "delay", "times", "answers"]),
    (read_fault, {"fault": "reset"}, SELECTORS),
]
for kind, fault_type in FAULT_TYPES.items():
    TABLES.append((read_fault, {"fault": kind}, fault_type.parameters))
special_keys = st.sampled_from(["regex", "b64", "hex", "any", "delay"])
one_value = json_values | st.sampled_from(["(", "\ud800", -1, 2**70])


@given(one_value | st.dictionaries(special_keys, one_value, min_size=1, max_size=2))
@example({"regex": "("})
@example({"b64": "("})
@example({"hex": "("})
@example({"any": 1})
@example({"delay": "a"})
def test_any_value_of_a_known_key_is_read_or_refused(value: object) -> None:
    for read, table, known in TABLES:
        for key in known:
            is_refused(read, {**table, key: value})
            is_refused(read, {**table, key: [value]})


@pytest.mark.parametrize(
    "read",
    [
        read_scenario,
        read_stub,
        read_fault,
        lambda value: read_fault({"fault": "reset", **value}),
        lambda value: read_fault({"fault": "reset", "match": value}),
        lambda value: read_fault({"fault": "reset", "times": value}),
        lambda value: read_stub({"service": "a", "args": [value]}),
        lambda value: read_scenario({"limits": value}),
    ],
)
def test_a_table_of_many_keys_costs_no_time(read: Callable[..., object]) -> None:
    value = read_json(MANY_KEYS)
    with in_no_time(), pytest.raises(ScenarioError) as caught:
        read(value)
    assert len(str(caught.value)) < 400


def test_what_is_refused_is_no_other_error() -> None:
    assert not is_refused(read_stub, {"service": "a"})
    assert is_refused(read_stub, {"service": "A"})


def is_refused(read: Callable[[object], object], value: object) -> bool:
    """Whether a value is refused with a reason; no other exception may leave the reader."""
    try:
        read(value)
    except ScenarioError as error:
        assert str(error)  # noqa: PT017 - a reader may also accept the value
        return True
    return False
