"""The log of the package is limited: what a stranger can cause must not fill a disk."""

from __future__ import annotations

import logging

import pytest

from esps_portal import ReplyError
from esps_portal import log as log_module
from esps_portal.log import RateLimit
from esps_portal.testing import VerificationError, serve_in_thread
from tests.sockets import connected


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(log_module, "monotonic", clock)
    return clock


def record(text: str, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("esps_portal", level, "", 0, text, ("x",), None)


def logged(limit: RateLimit, text: str, level: int = logging.ERROR) -> str | None:
    made = record(text, level)
    return made.getMessage() if limit.filter(made) else None


def test_twenty_of_a_kind_then_a_count(clock: Clock) -> None:
    limit = RateLimit()
    texts = [logged(limit, "failed: %s") for _ in range(120)]
    assert texts[:19] == ["failed: x"] * 19
    assert texts[19] == "failed: x (others like it are left out for up to 10 s)"
    assert texts[20:] == [None] * 100
    clock.now += 10
    assert logged(limit, "failed: %s") == "failed: x (100 others like it were left out)"
    assert logged(limit, "failed: %s") == "failed: x"


def test_kinds_are_counted_apart_and_information_not_at_all(clock: Clock) -> None:
    limit = RateLimit()
    for _ in range(50):
        logged(limit, "failed: %s")
        assert logged(limit, "begins: %s", logging.INFO) == "begins: x"
    assert logged(limit, "broken: %s") == "broken: x"


def test_memory_is_bounded(clock: Clock) -> None:
    limit = RateLimit()
    for number in range(5000):
        logged(limit, f"failed {number}: %s")
    assert len(limit._kinds) <= 1001  # noqa: SLF001 - nothing else shows it


def test_a_client_of_a_failing_service(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    with serve_in_thread() as portal:

        @portal.service
        def fails() -> None:
            raise ValueError("no")

        with connected(portal) as client:
            client.send(b"a CALL fails\n" * 500)
            assert len(client.lines(500)) == 500
    failures = [each for each in caplog.records if "fails" in each.getMessage()]
    assert len(failures) == 20
    assert "left out" in failures[-1].getMessage()


def test_a_report_shows_no_byte_of_a_client_as_it_came() -> None:
    with serve_in_thread() as portal:

        @portal.service
        def fails(text: bytes) -> None:
            raise ReplyError("not a code", text) if text == b"x" else ValueError(text.decode())

        with connected(portal) as client:
            client.send(b"b CALL fails %1B%5B2J%0Aforged\na CALL nosuch%1B%5B31m%0Aforged x%1B\n")
            client.lines(2)
        with pytest.raises(VerificationError) as failure:
            portal.verify()
    text = str(failure.value)
    assert "\x1b" not in text
    assert r"unexpected call: nosuch\x1b[31m\nforged" in text
    assert r"\x1b[2J" in text
