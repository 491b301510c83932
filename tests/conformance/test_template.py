from __future__ import annotations

import pytest

from esps_portal.conformance.pattern import line_matches
from esps_portal.conformance.steps import ExpectedLine
from esps_portal.conformance.template import Run, UnknownValueError, literal

LIMITS = {"max-line": 20, "idle": 0.5}


def test_a_name_is_the_same_in_the_whole_run_and_another_in_the_next() -> None:
    run = Run(LIMITS)
    first, second = run.fill("{a} PING {a}").split(" PING ")
    assert first == second
    assert len(first) == 16
    assert run.fill("{b}") != first
    assert Run(LIMITS).fill("{a}") != first


def test_a_repeated_name_has_the_number() -> None:
    run = Run(LIMITS)
    assert run.fill("{a@}", 2) == run.fill("{a2}") != run.fill("{a1}")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{=max-line} {=max-line+1} {=max-line-1}", "20 21 19"),
        ("idle={=idle}", "idle=0.5"),
        ("a PING {x:12}\n", "a PING xxxx\n"),
        ("a PING {x:12}", "a PING xxxxx"),
        ("a PING {#:max-line+1}\nb {y:5}\n", "a PING " + "#" * 13 + "\nb yy\n"),
        ("{{a}} {|} {}", "{a}} {|} {}"),
        ("{text} {arg} {number}", "{text} {arg} {number}"),
    ],
)
def test_what_a_template_stands_for(template: str, text: str) -> None:
    assert Run(LIMITS).fill(template) == text


def test_a_literal_stands_for_itself() -> None:
    assert Run({}).fill(literal("{a} {=b} {")) == "{a} {=b} {"


def test_an_unknown_value_is_an_error() -> None:
    with pytest.raises(UnknownValueError):
        Run(LIMITS).fill("{=max-time}")


MATCHES = [
    ("a OK x", "a OK x"),
    ("a OK {arg}", "a OK %20"),
    ("a OK {number}", "a OK 012"),
    ("a ERR busy {text}", "a ERR busy"),
    ("a ERR busy {text}", "a ERR busy some words"),
    ("a OK {/[a-z]{2}/}", "a OK xy"),
    ("a OK {/[a-z]+/...}", "a OK"),
    ("a OK {/[a-z]+/...}", "a OK x yz"),
    ("a OK {x:10}", "a OK xxxx"),
]
DIFFERS = [
    ("a OK x", "a OK"),
    ("a OK x", "a OK x junk"),
    ("a OK x", "b OK x"),
    ("a OK x", "a OK  x"),
    ("a OK", "a OK "),
    ("a OK {arg}", "a OK"),
    ("a OK {arg}", "a OK x y"),
    ("a OK {number}", "a OK 1x"),
    ("a ERR busy {text}", "a ERR busyness"),
    ("a ERR busy {text}", "a ERR"),
    ("a OK {/[a-z]{2}/}", "a OK xyz"),
    ("a OK {/[a-z]+/...}", "a OK x 7"),
    ("a OK {x:10}", "a OK xxx"),
]


@pytest.mark.parametrize(("pattern", "line"), MATCHES)
def test_a_line_that_may_come(pattern: str, line: str) -> None:
    assert line_matches(line, ExpectedLine(pattern), Run(LIMITS))


@pytest.mark.parametrize(("pattern", "line"), DIFFERS)
def test_a_line_that_may_not_come(pattern: str, line: str) -> None:
    assert not line_matches(line, ExpectedLine(pattern), Run(LIMITS))


def test_what_is_kept_is_a_value_later() -> None:
    run = Run(LIMITS)
    assert line_matches("a OK 41 y", ExpectedLine("a OK {number:needed} {arg:word}"), run)
    assert run.fill("{=needed} {=word} {#:needed}\n") == "41 y " + "#" * 35 + "\n"


def test_nothing_is_kept_of_a_line_that_differs() -> None:
    run = Run(LIMITS)
    assert not line_matches("a OK 41 y", ExpectedLine("a OK {number:needed} x"), run)
    assert run.values == {}


def test_what_the_rest_must_contain() -> None:
    expected = ExpectedLine("a OK {text}", contains=("max-line={=max-line}", "{/x-.*/}"))
    assert line_matches("a OK x-mine max-line=20", expected, Run(LIMITS))
    assert not line_matches("a OK x-mine max-line=21", expected, Run(LIMITS))
    assert not line_matches("a OK max-line=20", expected, Run(LIMITS))
