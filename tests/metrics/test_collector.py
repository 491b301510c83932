"""What is counted, under which labels, and that clients cannot make up new ones."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from esps_portal.faults.fault import Fault
from esps_portal.journal.journal import Journal
from esps_portal.journal.records import ABORTED, REPLAYED, REPLIED
from esps_portal.metrics.collector import PortalMetrics
from esps_portal.protocol.messages import readable_request

REMOTE = ("127.0.0.1", 5)


def offers(service: str) -> bool:
    return service in {"echo", "fail"}


@pytest.fixture
def metrics() -> PortalMetrics:
    return PortalMetrics(offers)


@pytest.fixture
def journal(metrics: PortalMetrics) -> Journal:
    journal = Journal(max_calls=1, keep_all_lines=False)
    journal.sinks.append(metrics.write)
    return journal


def samples(metrics: PortalMetrics, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of one metric, by the values of its labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.expose().decode())
        for sample in family.samples
        if sample.name == f"esps_portal_{name}"
    }


def end(
    journal: Journal, line: bytes, reply: bytes, state: str = REPLIED, transport: str = "tcp"
) -> None:
    request = readable_request(line)
    call = journal.received(transport, REMOTE, None, line, request, 1.0, RECEIVED_AS.get(state, ""))
    journal.ended(call, state, reply, 1.25)


RECEIVED_AS: Mapping[str, str] = {REPLAYED: REPLAYED}


@pytest.mark.parametrize(
    ("line", "reply", "labels"),
    [
        (b"a PING", b"a OK\n", ("PING", "", "tcp", "OK")),
        (b"a CALL echo hi", b"a OK hi\n", ("CALL", "echo", "tcp", "OK")),
        (
            b"a CALL nope",
            b"a ERR unknown-service x\n",
            ("CALL", "unknown", "tcp", "unknown-service"),
        ),
        (b"a CALL \xff", b"a ERR bad-line\n", ("invalid", "", "tcp", "bad-line")),
        (b"a CALL fail x-any", b"a ERR x-any\n", ("CALL", "fail", "tcp", "other")),
        (b"a FROB", b"a ERR unknown-verb x\n", ("unknown", "", "tcp", "unknown-verb")),
        (b"GET / HTTP/1.1\r", b"* ERR bad-line\n", ("invalid", "", "tcp", "bad-line")),
        (b"a CALL echo", b"", ("CALL", "echo", "tcp", "none")),
    ],
)
def test_a_request_is_counted(
    metrics: PortalMetrics, journal: Journal, line: bytes, reply: bytes, labels: tuple[str, ...]
) -> None:
    end(journal, line, reply, REPLIED if reply else ABORTED)
    verb, service, transport, code = labels
    # In the order of their names.
    assert samples(metrics, "requests_total") == {(code, service, transport, verb): 1}
    assert samples(metrics, "request_seconds_sum") == {(service, transport, verb): 0.25}
    assert samples(metrics, "bytes_total")["received", "tcp"] == len(line) + 1
    assert samples(metrics, "bytes_total").get(("sent", "tcp"), 0) == len(reply)


def test_all_lines_of_a_reply_are_bytes(metrics: PortalMetrics, journal: Journal) -> None:
    line = b"a CALL echo"
    call = journal.received("udp", REMOTE, None, line, readable_request(line), 1.0)
    call.add(b"a DATA 1\n")
    call.add(b"a DATA 2\n")
    journal.ended(call, REPLIED, b"a OK\n", 2.0)
    assert samples(metrics, "bytes_total") == {("received", "udp"): 12, ("sent", "udp"): 23}


def test_a_repeat_over_udp_is_no_request(metrics: PortalMetrics, journal: Journal) -> None:
    end(journal, b"a CALL echo", b"a OK\n", REPLAYED, "udp")
    assert samples(metrics, "requests_total") == {}
    assert samples(metrics, "bytes_total") == {("received", "udp"): 12, ("sent", "udp"): 5}


def test_connections_are_counted(metrics: PortalMetrics, journal: Journal) -> None:
    first, _ = journal.opened(REMOTE, 1.0), journal.opened(REMOTE, 1.0)
    journal.closed(first, "client", "fin", 2.0)
    journal.opened(REMOTE, 3.0, is_kept=True)  # the second, after a reset
    assert samples(metrics, "connections") == {(): 1}
    assert samples(metrics, "connections_total") == {(): 2}


def test_faults_are_counted_by_name(metrics: PortalMetrics) -> None:
    for kind in ("reset", "reset", "close"):
        metrics.count_fault(Fault.create(kind, service="x"))
    assert samples(metrics, "faults_total") == {("reset",): 2, ("close",): 1}


def test_clients_cannot_make_up_series(metrics: PortalMetrics, journal: Journal) -> None:
    def make_up(number: int) -> None:
        for transport in ("tcp", "udp"):
            end(
                journal,
                b"a CALL made-up-%d x" % number,
                b"a ERR x-%d\n" % number,
                REPLIED,
                transport,
            )
            end(
                journal,
                b"a VERB%c" % (65 + number % 26),
                b"a ERR y-%d\n" % number,
                REPLIED,
                transport,
            )
            end(journal, b"%d" % number, b"", ABORTED, transport)
            end(journal, b"a CALL fail x-%d" % number, b"a ERR x-%d\n" % number, REPLIED, transport)

    make_up(0)
    before = metrics.expose().count(b"esps_portal_")
    for number in range(1, 200):
        make_up(number)
    assert metrics.expose().count(b"esps_portal_") == before
