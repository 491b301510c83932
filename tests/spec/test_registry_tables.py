"""The tables and requirements of the specification agree with `registry.toml`.

These tests need only the files under `spec/`, not our code: another implementation can use them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from tests.spec.documents import SPEC, TEXT

REGISTRY: dict[str, Any] = tomllib.loads((SPEC / "registry.toml").read_text(encoding="utf-8"))
DESIGNED_ERRORS = [
    "bad-line",
    "too-long",
    "bad-arguments",
    "unknown-verb",
    "unknown-service",
    "unsupported-version",
    "tag-in-use",
    "not-in-flight",
    "busy",
    "cancelled",
    "too-large",
    "use-tcp",
    "unmatched",
    "failed",
    "closing",
    "idle",
]

Entry = dict[str, Any]
Column = tuple[str, Callable[[Entry], str]]


def _text(key: str) -> Callable[[Entry], str]:
    return lambda entry: str(entry[key])


def _code(key: str) -> Callable[[Entry], str]:
    return lambda entry: f"`{entry[key]}`" if entry[key] else ""


def _listed(key: str) -> Callable[[Entry], str]:
    return lambda entry: ", ".join(entry[key])


def _yes_no(key: str) -> Callable[[Entry], str]:
    return lambda entry: "yes" if entry[key] else "no"


TABLES: dict[str, tuple[str, tuple[Column, ...]]] = {
    "verbs": (
        "verb",
        (
            ("Verb", _code("name")),
            ("Arguments", _code("arguments")),
            ("Transports", _listed("transports")),
            ("Order", _text("order")),
            ("Summary", _text("summary")),
        ),
    ),
    "errors": (
        "error",
        (
            ("Error", _code("name")),
            ("Fault", _text("fault")),
            ("Executed", _text("executed")),
            ("Retry", _text("retry")),
            ("Ends", _yes_no("ends")),
            ("Machine arguments", _listed("machine_arguments")),
            ("Summary", _text("summary")),
        ),
    ),
    "limits": (
        "limit",
        (
            ("Limit", _code("name")),
            ("Default", _text("default")),
            ("Minimum", _text("minimum")),
            ("Unit", _text("unit")),
            ("HELLO", _yes_no("hello")),
            ("Summary", _text("summary")),
            ("Derivation", _text("derivation")),
        ),
    ),
    "flags": ("flag", (("Flag", _code("letter")), ("Meaning", _text("meaning")))),
    "services": (
        "service",
        (
            ("Service", _code("name")),
            ("Usage", _code("usage")),
            ("Flags", _code("flags")),
            ("Transports", _listed("transports")),
            ("Idempotent", _yes_no("idempotent")),
            ("Summary", _text("summary")),
        ),
    ),
}


def render_table(name: str) -> str:
    """Return the table that the text must have between its markers."""
    key, columns = TABLES[name]
    rows = [[heading for heading, _ in columns], ["---"] * len(columns)]
    rows += [[cell(entry) for _, cell in columns] for entry in REGISTRY[key]]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def table_in_text(name: str) -> str:
    """Return what the text has between the markers of a table."""
    found = re.findall(rf"<!-- table: {name} -->\n(.*?)<!-- end -->", TEXT, re.DOTALL)
    assert len(found) == 1, f"the text has {len(found)} tables called {name}"
    return str(found[0])


def transitions_in_table(name: str) -> list[tuple[str, str, str]]:
    """Return the rows (state, signal, next) of a table of transitions."""
    heading, rule, *rows = table_in_text(name).splitlines()
    assert (heading, rule) == ("| State | Signal | Next |", "| --- | --- | --- |")
    transitions = []
    for row in rows:
        state, signal, following = row.strip("| ").split(" | ")
        transitions.append((state, signal, following))
    return transitions


@pytest.mark.parametrize("name", TABLES)
def test_each_table_in_the_text_is_the_registry(name: str) -> None:
    assert table_in_text(name) == render_table(name)


def test_the_text_has_no_other_tables() -> None:
    names = re.findall(r"<!-- table: (.*?) -->", TEXT)
    assert sorted(names) == sorted([*TABLES, "connection", "call", "ends"])


@pytest.mark.parametrize("name", ["connection", "call"])
def test_each_state_diagram_has_the_transitions_of_its_table(name: str) -> None:
    after_table = TEXT.split(f"<!-- table: {name} -->")[1]
    diagram = after_table.split("```mermaid\nstateDiagram-v2\n")[1].split("```")[0]
    drawn = re.findall(r"^ +(\w+) --> (\w+): ([a-z-]+)$", diagram, re.MULTILINE)
    transitions = transitions_in_table(name)
    assert [(state, signal, following) for state, following, signal in drawn] == transitions
    assert len({row[:2] for row in transitions}) == len(transitions)


def test_errors_have_the_order_of_the_design() -> None:
    assert [error["name"] for error in REGISTRY["error"]] == DESIGNED_ERRORS


@pytest.mark.parametrize("kind", ["verb", "error", "limit", "service", "flag"])
def test_entries_have_the_same_keys_and_names_of_their_own(kind: str) -> None:
    entries = REGISTRY[kind]
    assert len({frozenset(entry) for entry in entries}) == 1
    names = [entry.get("name", entry.get("letter")) for entry in entries]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("error", REGISTRY["error"], ids=lambda entry: entry["name"])
def test_errors_use_the_values_that_the_text_defines(error: Entry) -> None:
    assert error["fault"] in {"client", "server", "service", "none"}
    assert error["executed"] in {"no", "yes", "maybe"}
    assert error["retry"] in {"no", "yes", "changed"}
    assert type(error["ends"]) is bool


@pytest.mark.parametrize("service", REGISTRY["service"], ids=lambda entry: entry["name"])
def test_flags_of_a_service_agree_with_its_other_columns(service: Entry) -> None:
    flags = service["flags"].removesuffix("-")
    assert sorted(flags) == list(flags)
    assert set(flags) <= {flag["letter"] for flag in REGISTRY["flag"]}
    assert ("i" in flags) == service["idempotent"]
    assert ("t" in flags) == (service["transports"] == ["tcp"])


def _limit(name: str) -> float:
    return float(next(e["default"] for e in REGISTRY["limit"] if e["name"] == name))


@pytest.mark.parametrize(
    ("ack_timeout", "span", "wait"),
    [("ack-timeout", "22.5 s", "46.5 s"), ("ack-timeout-loopback", "1.125 s", "2.325 s")],
)
def test_the_times_of_retransmission_are_what_the_text_derives(
    ack_timeout: str, span: str, wait: str
) -> None:
    times, factor = int(_limit("max-retransmit")), _limit("ack-random-factor")
    timeouts = [_limit(ack_timeout) * factor * 2**n for n in range(times + 1)]
    assert f"{sum(timeouts[:-1]):g} s" == span
    assert f"{sum(timeouts):g} s" == wait
    assert span in TEXT
    assert wait in TEXT
    assert _limit("window") >= sum(timeouts)


# -- requirements

# One list item: its identifier, section and number, and its sentence.
REQUIREMENT = re.compile(
    r"^- \[(ESPS-([A-Z]+)-([0-9]+))\] (.*?)(?=\n\n|\n- |\n#)", re.MULTILINE | re.DOTALL
)
LEVEL = re.compile(r"\b(?:MUST|SHOULD)(?: NOT)?\b|\bMAY\b")
REQUIREMENTS = REQUIREMENT.findall(TEXT)


def test_each_requirement_has_exactly_one_level() -> None:
    levels = {found[0]: len(LEVEL.findall(found[3])) for found in REQUIREMENTS}
    assert {name: count for name, count in levels.items() if count != 1} == {}


def test_requirements_are_numbered_from_one_within_their_subject() -> None:
    numbers: dict[str, list[int]] = {}
    for _, section, number, _ in REQUIREMENTS:
        numbers.setdefault(section, []).append(int(number))
    for section, found in numbers.items():
        assert sorted(found) == list(range(1, len(found) + 1)), section


def test_no_level_is_outside_a_requirement() -> None:
    rest = REQUIREMENT.sub("", TEXT)
    terminology = rest.index("The key words"), rest.index("as shown here.")
    rest = rest[: terminology[0]] + rest[terminology[1] :]
    assert LEVEL.findall(rest) == []


def test_what_the_text_cites_exists() -> None:
    known = {found[0] for found in REQUIREMENTS}
    assert set(re.findall(r"ESPS-[A-Z]+-[0-9]+", TEXT)) <= known
    references = TEXT.split("## 16. References")[1]
    cited = set(re.findall(r"\[RFC[0-9]+\]", TEXT.split("## 16. References")[0]))
    assert cited <= set(re.findall(r"\[RFC[0-9]+\]", references))


def test_every_code_and_limit_in_the_registry_is_used_in_the_text() -> None:
    prose = re.sub(r"<!-- table: \w+ -->.*?<!-- end -->", "", TEXT, flags=re.DOTALL)
    names = [entry["name"] for kind in ("error", "limit", "verb") for entry in REGISTRY[kind]]
    assert [name for name in names if name not in prose] == []
