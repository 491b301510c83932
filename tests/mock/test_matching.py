"""Which arguments match, and how differences are described."""

from __future__ import annotations

import re
from typing import Any

import pytest

from esps_portal.mock.matching import ANY, ANY_ARGS, ArgsMatcher, describe_argument
from tests.cases import cases


def starts_with_a(arg: bytes) -> bool:
    return arg.startswith(b"a")


@cases(
    ("matchers", "args", "matches"),
    [
        ((), (), True),
        ((), (b"x",), False),
        (("x",), (), False),
        (("x",), (b"x",), True),
        (("x",), (b"X",), False),
        (("é",), ("é".encode(),), True),
        ((b"\xff\x00",), (b"\xff\x00",), True),
        ((bytearray(b"x"),), (b"x",), True),
        ((ANY,), (b"anything",), True),
        ((ANY,), (b"",), True),
        ((ANY,), (), False),
        ((ANY_ARGS,), (), True),
        ((ANY_ARGS,), (b"a", b"b"), True),
        (("a", ANY_ARGS), (), False),
        (("a", ANY_ARGS), (b"a",), True),
        (("a", ANY_ARGS), (b"a", b"b", b"c"), True),
        (("a", ANY_ARGS), (b"b", b"b"), False),
        ((re.compile("sku-[0-9]+"),), (b"sku-12",), True),
        ((re.compile("sku-[0-9]+"),), (b"sku-12x",), False),  # all of it, not its beginning
        ((re.compile(".*"),), (b"\xff",), False),  # no text
        ((re.compile(rb".*"),), (b"\xff",), True),
        ((re.compile("(a+)+$"),), (b"a" * 40 + b"b",), False),  # takes `re` for ever
        ((re.compile("A # b", re.VERBOSE | re.IGNORECASE),), (b"a",), True),
        ((re.compile("a(?=b)b"),), (b"ab",), True),  # not in one pass
        ((starts_with_a,), (b"abc",), True),
        ((starts_with_a,), (b"bc",), False),
        (("x", ANY, "z"), (b"x", b"y", b"z"), True),
        (("x", ANY, "z"), (b"x", b"y", b"y"), False),
    ],
)
def test_matching(matchers: tuple[Any, ...], args: tuple[bytes, ...], matches: bool) -> None:
    pattern = ArgsMatcher.of(matchers)
    assert pattern.matches(args) is matches
    assert bool(pattern.differences(args)) is not matches


@pytest.mark.parametrize(
    ("matchers", "args", "expected"),
    [
        (("a", "b"), (b"a", b"c"), ["argument 2 is 'c', not 'b'"]),
        (("a",), (), ["it has no arguments, not 1"]),
        (
            (),
            (b"a",),
            ["it has 1 argument, not 0; ANY_ARGS matches further ones"],
        ),
        (("a", ANY_ARGS), (), ["it has no arguments, not at least 1"]),
        (
            ("a", "b"),
            (b"x",),
            ["argument 1 is 'x', not 'a'", "it has 1 argument, not 2"],
        ),
        ((re.compile("[0-9]"),), (b"x",), ["argument 1 is 'x', not /[0-9]/"]),
        ((re.compile(b"[0-9]"),), (b"x",), ["argument 1 is 'x', not /[0-9]/"]),
        ((starts_with_a,), (b"x",), ["argument 1 is 'x', not <starts_with_a>"]),
        (("a",), (b"\xff",), [r"argument 1 is b'\xff', not 'a'"]),
    ],
)
def test_differences(
    matchers: tuple[Any, ...], args: tuple[bytes, ...], expected: list[str]
) -> None:
    assert ArgsMatcher.of(matchers).differences(args) == expected


def test_a_predicate_that_raises_does_not_match() -> None:
    pattern = ArgsMatcher.of((lambda arg: int(arg) > 3,))
    assert pattern.matches((b"4",))
    (difference,) = pattern.differences((b"four",))
    assert difference.startswith("argument 1 is 'four', not <<lambda>> (ValueError: invalid")


@pytest.mark.parametrize("wrong", [1, None, 1.5, ["x"], object()])
def test_what_cannot_match_an_argument(wrong: object) -> None:
    with pytest.raises(TypeError, match=type(wrong).__name__):
        ArgsMatcher.of((wrong,))  # type: ignore[arg-type]


def test_any_args_comes_last() -> None:
    with pytest.raises(ValueError, match="must come last"):
        ArgsMatcher.of((ANY_ARGS, "x"))


def test_as_text() -> None:
    pattern = ArgsMatcher.of(("a", ANY, re.compile("x+"), starts_with_a, ANY_ARGS))
    assert str(pattern) == "'a' ANY /x+/ <starts_with_a> ..."
    assert repr(ANY_ARGS) == "ANY_ARGS"
    assert len(describe_argument(b"x" * 9000)) == 60
    assert "\n" not in describe_argument(b"a\nb")


def test_an_async_predicate_is_refused() -> None:
    async def is_a(arg: bytes) -> bool:
        return arg == b"a"

    with pytest.raises(TypeError, match="a predicate must be a sync function"):
        ArgsMatcher.of((is_a,))
