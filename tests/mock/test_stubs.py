"""Stubs: the order of their answers, errors of a chain, and which stub answers a call."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest

from esps_portal.mock.answer_chain import StubError, describe_stub
from esps_portal.mock.matching import ANY_ARGS, Matcher
from esps_portal.mock.scripted import Script
from esps_portal.mock.stub_registry import Mismatch, StubRegistry
from esps_portal.mock.stubs import Stub, describe_call
from esps_portal.mock.verification import find_problems
from tests.cases import cases


def stub(service: str = "price", *args: Matcher) -> Stub:
    return Stub(service, args, max_line=512)


def lines(stub: Stub, count: int) -> list[bytes]:
    return [stub.take().final(b"t").encode() for _ in range(count)]


def test_a_bare_stub_replies_ok() -> None:
    assert lines(stub(), 2) == [b"t OK\n", b"t OK\n"]


def test_the_last_answer_is_repeated() -> None:
    assert lines(stub().reply("9.99"), 3) == [b"t OK 9.99\n"] * 3


def test_answers_come_in_order() -> None:
    chain = stub().fail("busy", "later").times(2).reply("a", b"\xff").reply()
    assert lines(chain, 6) == [
        b"t ERR busy later\n",
        b"t ERR busy later\n",
        b"t OK a %FF\n",
        b"t OK\n",
        b"t OK\n",
        b"t OK\n",
    ]


def test_steps_come_in_order() -> None:
    answer = stub().data("1").delay(0.5).data("2", "3").reply("x").then_close().take()
    assert answer.steps == [(b"1",), 0.5, (b"2", b"3")]
    assert answer.final(b"t").encode() == b"t OK x\n"
    assert answer.closes
    assert not answer.is_immediate


def test_data_begins_the_next_answer() -> None:
    chain = stub().reply("a").data("1").fail("x-no").then_close()
    first, second = chain.take(), chain.take()
    assert (first.steps, first.args, first.closes) == ([], (b"a",), False)
    assert (second.steps, second.args, second.closes) == ([(b"1",)], (b"x-no",), True)


def test_a_close_completes_an_answer() -> None:
    chain = stub().then_close().reply("a")
    first, second = chain.take(), chain.take()
    assert (first.final(b"t").encode(), first.closes) == (b"t OK\n", True)
    assert (second.final(b"t").encode(), second.closes) == (b"t OK a\n", False)


def test_data_alone_ends_with_ok() -> None:
    assert stub().data("1").take().final(b"t").encode() == b"t OK\n"


def test_delay_may_follow_or_precede_the_reply() -> None:
    assert stub().reply("x").delay(1).take() == stub().delay(1).reply("x").take()
    assert stub().delay(1).take().steps == [1.0]


def test_whether_the_next_answer_is_immediate() -> None:
    chain = stub().reply().data("1").reply()
    assert chain.is_next_immediate
    chain.take()
    assert not chain.is_next_immediate


@pytest.mark.parametrize(
    ("chain", "expected_uses"),
    [
        (stub, 1),
        (lambda: stub().reply(), 1),
        (lambda: stub().reply().times(3), 3),
        (lambda: stub().fail("busy").times(2).reply(), 3),
        (lambda: stub().reply().reply().reply(), 3),
    ],
)
def test_satisfied_once_each_answer_is_given(chain: Callable[[], Stub], expected_uses: int) -> None:
    one = chain()
    for _ in range(expected_uses):
        assert not one.is_satisfied
        one.take()
    assert one.is_satisfied


def test_exhausted_only_if_the_last_answer_has_times() -> None:
    endless, counted = stub().reply().times(2).reply(), stub().reply().reply().times(2)
    for _ in range(3):
        assert not endless.is_exhausted
        assert not counted.is_exhausted
        endless.take()
        counted.take()
    assert not endless.is_exhausted
    assert counted.is_exhausted


def test_optional() -> None:
    assert stub().optional().is_satisfied
    assert not stub().is_satisfied


@cases(
    ("wrong", "message"),
    [
        (lambda: stub("Price"), "'Price' is not a name"),
        (lambda: stub(""), "is not a name"),
        (lambda: stub("a" * 65), "is not a name"),
        (lambda: stub("é"), "is not a name"),
        (lambda: stub("a b"), "is not a name"),
        (lambda: stub().fail("Busy"), "'Busy' is not an error code"),
        (lambda: stub().fail(""), "is not an error code"),
        (lambda: stub().delay(-1), "got -1"),
        (lambda: stub().delay(math.inf), "got inf"),
        (lambda: stub().delay(math.nan), "got nan"),
        (lambda: stub().reply().times(0), "got 0"),
        (lambda: stub().reply().times(count=True), "got True"),
        (
            lambda: stub().reply().times(1.5),  # type: ignore[arg-type]
            "got 1.5",
        ),
        (lambda: stub().times(2), "must follow the answer"),
        (lambda: stub().reply("x" * 500), "a line of 537 bytes; max_line is 512"),
        (lambda: stub().reply(b"\xff" * 200), "a line of 637 bytes; max_line is 512"),
        (lambda: stub().data("x" * 500), "a line of 539 bytes; max_line is 512"),
        (lambda: stub().fail("busy", "x" * 500), "max_line is 512"),
    ],
)
def test_a_wrong_chain_names_what_is_wrong(wrong: Callable[[], Stub], message: str) -> None:
    with pytest.raises(StubError) as caught:
        wrong()
    assert message in str(caught.value)


def test_the_longest_answer_that_fits_any_tag() -> None:
    longest = stub().reply("x" * 475)
    assert len(longest.take().final(b"t" * 32).encode()) == 512


def test_an_error_adds_no_answer() -> None:
    one = stub()
    with pytest.raises(StubError):
        one.reply("x" * 500)
    assert one.answers == []
    with pytest.raises(TypeError, match="int"):
        one.reply(1)  # type: ignore[arg-type]


def test_the_first_matching_stub_answers() -> None:
    stubs = StubRegistry()
    exact, any_other = (
        stubs.place(stub("price", "a").reply("1").times(1)),
        stubs.place(stub("price", ANY_ARGS)),
    )
    assert stubs.find(b"price", [b"a"]) is exact
    assert stubs.find(b"price", [b"b"]) is any_other
    exact.take()
    assert stubs.find(b"price", [b"a"]) is any_other
    assert stubs.names == [b"price"]


def test_the_nearest_stub_as_text() -> None:
    stubs = StubRegistry()
    stubs.place(stub("price", "x", "y", "z"))
    stubs.place(stub("price", "sku-1", "eur"))
    found = stubs.find(b"price", [b"sku-1", b"usd"])
    assert isinstance(found, Mismatch)
    assert str(found) == ("nearest stub: price 'sku-1' 'eur': argument 2 is 'usd', not 'eur'")


def test_an_argument_that_was_meant_as_a_pattern_is_named() -> None:
    stubs = StubRegistry()
    stubs.place(stub("price", r"sku-\d"))
    found = str(stubs.find(b"price", [b"sku-1"]))
    assert found.endswith("; as a regular expression it would match: write re.compile(...)")


def test_a_used_up_stub_is_the_nearest() -> None:
    """It is nearer than stubs with other arguments, in any order."""
    stubs = StubRegistry()
    stubs.place(stub("price", "other").reply())
    used_up = stubs.place(stub("price", "sku-1").reply().times(2))
    used_up.take()
    used_up.take()
    stubs.place(stub("price", "another").reply())
    found = stubs.find(b"price", [b"sku-1"])
    assert isinstance(found, Mismatch)
    assert str(found) == "nearest stub: price 'sku-1': it was for 2 calls, and is used up"


def test_unused_stubs_until_clear() -> None:
    stubs = StubRegistry()
    never, broken, done = (stubs.place(stub(name).reply().reply()) for name in ("a", "b", "c"))
    stubs.place(stub("d").optional())
    broken.take()
    done.take()
    done.take()
    assert stubs.unused() == [never, broken]
    assert [describe_stub(one) for one in stubs.unused()] == [
        "a: never used",
        "b: used 1 of 2 times",
    ]
    assert repr(broken) == "<stub b, used 1 of 2>"
    assert len(stubs.all) == 4
    stubs.clear()
    assert stubs.all == []


def test_many_stubs_of_one_service_are_placed_in_no_time() -> None:
    """As those of a recording. To go through all before each took a minute and a half."""
    registry = StubRegistry()
    last = registry.place_permanent(Stub("x", (), max_line=512))
    before = time.process_time()
    stubs = [Stub("x", (b"%d" % number,), max_line=512) for number in range(30_000)]
    for stub in stubs:
        registry.place(stub)
    assert registry.by_name[b"x"] == [*stubs, last]
    assert time.process_time() - before < 5


def test_the_unused_stubs_of_a_report_are_bounded() -> None:
    script = Script()
    for number in range(1000):
        script.stubs.place(Stub("x", (b"%d" % number,), max_line=512))
    problems = find_problems(script)
    assert len(problems) == 101
    assert problems[-1] == "unused stubs: 900 more"


def test_a_call_as_text() -> None:
    assert describe_call(b"price", [b"a b", b"\xff"]) == r"price 'a b' b'\xff'"


@pytest.mark.parametrize(
    "breaking",
    [
        lambda chain: chain.reply(9.99),
        lambda chain: chain.reply("1").fail("No"),
        lambda chain: chain.data("x" * 9000),
        lambda chain: chain.delay(-1),
        lambda chain: chain.reply("1").times(0),
        lambda chain: chain.reply("1", so="2"),
    ],
)
def test_a_broken_stub_answers_nothing(breaking: Callable[[Stub], object]) -> None:
    stubs = StubRegistry()
    broken = stubs.place(stub("price"))
    with pytest.raises((TypeError, StubError)):
        breaking(broken)
    found = stubs.find(b"price", [])
    assert isinstance(found, Mismatch)
    assert str(found) == "nearest stub: price: it is broken: one of its methods raised"
    assert (stubs.unused(), stubs.all) == ([], [])
    complete = stubs.place(stub("price").reply("9.99"))
    assert stubs.find(b"price", []) is complete
    assert stubs.shadow_of(complete) is None
