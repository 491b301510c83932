"""Counts what a journal is notified of, and shows it in the text format of Prometheus.

The number of time series is bounded, whatever clients send. A label has a value that the registry
of ESPS/1 or the portal itself defines; everything else that a client can make up shares one value.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from esps_portal.faults.fault import Fault
from esps_portal.journal.records import (
    RECEIVED,
    REPLAYED,
    Entry,
    RecordedCall,
    RecordedConnection,
)
from esps_portal.protocol.registry import ERRORS, VERBS

# Seconds. What is answered at once takes less than a millisecond; built-in services may be asked
# to take any time, and the idle limit of clients is often a minute.
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LABELS = ("verb", "service", "transport")
#: The media type of what is exposed: the format that every version of Prometheus reads.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_KNOWN_VERBS = {name.decode() for name in VERBS}


class PortalMetrics:
    """The metrics of one portal, in a registry of their own.

    Args:
        offers: whether the portal has a service, or a stub, of that name.

    Example::

        metrics = PortalMetrics(lambda service: service == "echo")
        journal.sinks.append(metrics.write)
        body = metrics.expose()
    """

    def __init__(self, offers: Callable[[str], bool]) -> None:
        self._offers = offers
        # A time of creation for each series would double their number, and no rule uses it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # processor time, memory, descriptors
        # OpenMetrics allows no gauge of the name that a counter has before its _total. The text
        # format does, but the library wants them apart.
        self._gauges = CollectorRegistry()
        self._open = Gauge(
            "esps_portal_connections", "TCP connections that are open.", registry=self._gauges
        )
        self._connections = Counter(
            "esps_portal_connections_total", "TCP connections accepted.", registry=registry
        )
        self._requests = Counter(
            "esps_portal_requests_total",
            "Requests that have ended, and lines and datagrams that are none. code: OK, an error"
            " code, or none where no reply was sent.",
            (*_LABELS, "code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "esps_portal_request_seconds",
            "Seconds from when a request was read until its reply was complete.",
            _LABELS,
            buckets=_BUCKETS,
            registry=registry,
        )
        self._bytes = Counter(
            "esps_portal_bytes_total",
            "Bytes of request lines received, and of reply lines sent, before faults change them.",
            ("direction", "transport"),
            registry=registry,
        )
        self._faults = Counter(
            "esps_portal_faults_total", "Faults that have struck.", ("fault",), registry=registry
        )

    def write(self, entry: Entry) -> None:
        """Count what has happened; a sink of a journal."""
        subject = entry.subject
        if isinstance(subject, RecordedConnection):
            self._count_connection(entry.event)
        elif isinstance(subject, RecordedCall) and entry.event != RECEIVED:
            self._count_request(subject)

    def count_fault(self, fault: Fault) -> None:
        """Count a fault that has struck."""
        self._faults.labels(fault.kind).inc()

    def expose(self) -> bytes:
        """Return all metrics, as `CONTENT_TYPE`."""
        return generate_latest(self._gauges) + generate_latest(self._registry)

    def _count_connection(self, event: str) -> None:
        if event == "opened":
            self._connections.inc()
            self._open.inc()
        elif event == "closed":
            self._open.dec()

    def _count_request(self, call: RecordedCall) -> None:
        self._bytes.labels("received", call.transport).inc(len(call.data) + 1)  # with its LF
        if call.sent_size:
            self._bytes.labels("sent", call.transport).inc(call.sent_size)
        if call.state == REPLAYED:
            return  # the same request again, which executes nothing
        labels = self._verb(call), self._service(call), call.transport
        self._requests.labels(*labels, _code(call)).inc()
        self._seconds.labels(*labels).observe((call.ended or call.received) - call.received)

    def _verb(self, call: RecordedCall) -> str:
        if call.request is None:
            return "invalid"
        return call.verb if call.verb in _KNOWN_VERBS else "unknown"

    def _service(self, call: RecordedCall) -> str:
        if not call.service:
            return ""
        return call.service if self._offers(call.service) else "unknown"


def _code(call: RecordedCall) -> str:
    """Return the outcome; the codes that services make up (``x-...``) share one value."""
    if not call.code:
        return "OK" if call.sent_size else "none"
    return call.code if call.code in ERRORS else "other"
