"""Stubs: chains of answers, whose turn it is, and what is wrong with a chain."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from esps_portal.mock.matching import ANY_ARGS, Matcher
from esps_portal.mock.stubs import (
    Mismatch,
    Stub,
    StubError,
    StubRegistry,
    describe_call,
    describe_stub,
)


def stub(service: str = "price", *args: Matcher) -> Stub:
    return Stub(service, args, max_line=512)


def lines(stub: Stub, count: int) -> list[bytes]:
    return [stub.take().final(b"t").encode() for _ in range(count)]


def test_alone_it_says_ok() -> None:
    assert lines(stub(), 2) == [b"t OK\n", b"t OK\n"]


def test_the_last_answer_goes_on() -> None:
    assert lines(stub().reply("9.99"), 3) == [b"t OK 9.99\n"] * 3


def test_one_after_the_other() -> None:
    chain = stub().fail("busy", "later").times(2).reply("a", b"\xff").reply()
    assert lines(chain, 6) == [
        b"t ERR busy later\n",
        b"t ERR busy later\n",
        b"t OK a %FF\n",
        b"t OK\n",
        b"t OK\n",
        b"t OK\n",
    ]


def test_steps_come_in_the_order_in_which_they_were_said() -> None:
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


def test_data_alone_ends_with_ok() -> None:
    assert stub().data("1").take().final(b"t").encode() == b"t OK\n"


def test_after_stands_on_either_side() -> None:
    assert stub().reply("x").delay(1).take() == stub().delay(1).reply("x").take()
    assert stub().delay(1).take().steps == [1.0]


def test_whether_it_is_instant_changes_with_the_turn() -> None:
    chain = stub().reply().data("1").reply()
    assert chain.is_next_immediate
    chain.take()
    assert not chain.is_next_immediate


@pytest.mark.parametrize(
    ("chain", "wanted"),
    [
        (stub, 1),
        (lambda: stub().reply(), 1),
        (lambda: stub().reply().times(3), 3),
        (lambda: stub().fail("busy").times(2).reply(), 3),
        (lambda: stub().reply().reply().reply(), 3),
    ],
)
def test_satisfied_once_each_answer_was_given(chain: Callable[[], Stub], wanted: int) -> None:
    one = chain()
    for _ in range(wanted):
        assert not one.is_satisfied
        one.take()
    assert one.is_satisfied


def test_exhausted_only_where_times_says_so() -> None:
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


@pytest.mark.parametrize(
    ("wrong", "words"),
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
def test_what_it_cannot_do(wrong: Callable[[], Stub], words: str) -> None:
    with pytest.raises(StubError) as caught:
        wrong()
    assert words in str(caught.value)


def test_the_longest_answer_that_fits_any_tag() -> None:
    longest = stub().reply("x" * 475)
    assert len(longest.take().final(b"t" * 32).encode()) == 512


def test_what_is_wrong_leaves_the_chain_as_it_was() -> None:
    one = stub()
    with pytest.raises(StubError):
        one.reply("x" * 500)
    assert one.answers == []
    with pytest.raises(TypeError, match="int"):
        one.reply(1)  # type: ignore[arg-type]


def test_the_first_that_fits_answers() -> None:
    book = StubRegistry()
    exact, any_other = (
        book.place(stub("price", "a").reply("1").times(1)),
        book.place(stub("price", ANY_ARGS)),
    )
    assert book.find(b"price", [b"a"]) is exact
    assert book.find(b"price", [b"b"]) is any_other
    exact.take()
    assert book.find(b"price", [b"a"]) is any_other
    assert book.names == [b"price"]


def test_the_nearest_stub_in_words() -> None:
    book = StubRegistry()
    book.place(stub("price", "x", "y", "z"))
    book.place(stub("price", "sku-1", "eur"))
    found = book.find(b"price", [b"sku-1", b"usd"])
    assert isinstance(found, Mismatch)
    assert str(found) == ("nearest stub: price 'sku-1' 'eur': argument 2 is 'usd', not 'eur'")


def test_a_stub_that_is_used_up_names_itself() -> None:
    """It is nearer than any that was never meant, wherever it stands."""
    book = StubRegistry()
    book.place(stub("price", "other").reply())
    used_up = book.place(stub("price", "sku-1").reply().times(2))
    used_up.take()
    used_up.take()
    book.place(stub("price", "another").reply())
    found = book.find(b"price", [b"sku-1"])
    assert isinstance(found, Mismatch)
    assert str(found) == "nearest stub: price 'sku-1': it was for 2 calls, and is used up"


def test_unused_and_forgotten() -> None:
    book = StubRegistry()
    never, half, done = (book.place(stub(name).reply().reply()) for name in ("a", "b", "c"))
    book.place(stub("d").optional())
    half.take()
    done.take()
    done.take()
    assert book.unused() == [never, half]
    assert [describe_stub(one) for one in book.unused()] == [
        "a: never used",
        "b: used 1 of 2 times",
    ]
    assert repr(half) == "<stub b, used 1 of 2>"
    assert len(book.all) == 4
    book.clear()
    assert book.all == []


def test_a_call_as_a_person_reads_it() -> None:
    assert describe_call(b"price", [b"a b", b"\xff"]) == r"price 'a b' b'\xff'"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda chain: chain.reply(9.99),
        lambda chain: chain.reply("1").fail("No"),
        lambda chain: chain.data("x" * 9000),
        lambda chain: chain.delay(-1),
        lambda chain: chain.reply("1").times(0),
        lambda chain: chain.reply("1", so="2"),
    ],
)
def test_half_a_stub_is_none(spoil: Callable[[Stub], object]) -> None:
    book = StubRegistry()
    half = book.place(stub("price"))
    with pytest.raises((TypeError, StubError)):
        spoil(half)
    found = book.find(b"price", [])
    assert isinstance(found, Mismatch)
    assert str(found) == "nearest stub: price: it is broken: one of its methods raised"
    assert (book.unused(), book.all) == ([], [])
    whole = book.place(stub("price").reply("9.99"))
    assert book.find(b"price", []) is whole
    assert book.shadow_of(whole) is None
