"""Each requirement for a server is tested from outside, or is in a table of what cannot be."""

from __future__ import annotations

import pytest

from esps_portal.conformance.requirements import load_requirements
from esps_portal.conformance.vectors import load_vectors
from tests.spec.documents import SPEC

REQUIREMENTS = load_requirements(SPEC)
TESTED = {name for vector in load_vectors(SPEC) for name in vector.requirements}

_TLS = "the runner speaks no TLS; tests/net and tests/server test our own"
_PROXY = "a server expects PROXY headers only where its operator says so; no limit says it"
_PROCESSES = "about the processes and the operator of a server, whom a peer does not see"

#: What no outside test can see, and why.
UNSEEN = {
    "ESPS-LINE-23": "an operator's choice that no limit says",
    "ESPS-TLS-1": _TLS,
    "ESPS-TLS-2": _TLS,
    "ESPS-TLS-4": _TLS,
    "ESPS-TLS-5": _TLS,
    "ESPS-TLS-6": _TLS,
    "ESPS-TLS-7": _TLS,
    "ESPS-TLS-8": _TLS,
    "ESPS-TCP-17": _PROXY,
    "ESPS-TCP-18": _PROXY,
    "ESPS-TCP-19": _PROXY,
    "ESPS-LIM-3": "a server that refuses its configuration listens to nobody",
    "ESPS-UDP-37": _PROCESSES,
    "ESPS-UDP-39": _PROCESSES,
    "ESPS-UDP-41": _PROCESSES,
    "ESPS-UDP-46": "a datagram to a broadcast address reaches others than the server too",
    "ESPS-UDP-47": _PROCESSES,
    "ESPS-VERB-15": "no built-in service fails in a way that it did not declare",
    "ESPS-VERB-17": "no built-in service fails in a way that it did not declare",
    "ESPS-VERB-20": "every built-in service ends as soon as it is cancelled",
    "ESPS-SEC-3": "a peer that has used up all descriptors of a server harms others on it",
    "ESPS-SEC-4": _PROCESSES,
    "ESPS-SEC-5": "about programs for people, not about servers",
}


def is_for_clients(sentence: str) -> bool:
    return sentence.startswith("A client ")


def test_each_requirement_for_a_server_is_tested_or_cannot_be() -> None:
    for_servers = {r.id for r in REQUIREMENTS.values() if not is_for_clients(r.sentence)}
    assert for_servers - TESTED - set(UNSEEN) == set()


@pytest.mark.parametrize("name", UNSEEN)
def test_the_table_is_not_stale(name: str) -> None:
    assert name in REQUIREMENTS
    assert name not in TESTED


def test_requirements_are_read_whole() -> None:
    one = REQUIREMENTS["ESPS-END-7"]
    assert (one.section, one.level) == ("6.5", "must")
    assert one.sentence == (
        "A server MUST answer with `closing` each call that still runs when the drain ends, and a"
        " `CANCEL` that still waits for one."
    )
    assert all(requirement.level for requirement in REQUIREMENTS.values())
