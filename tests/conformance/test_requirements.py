from __future__ import annotations

from esps_portal.conformance.requirements import in_section, load_requirements
from tests.spec.documents import SPEC

REQUIREMENTS = load_requirements(SPEC)


def test_requirements_are_read_whole() -> None:
    one = REQUIREMENTS["ESPS-END-7"]
    assert (one.section, one.level) == ("6.5", "must")
    assert one.sentence == (
        "A server MUST answer with `closing` each call that still runs when the drain ends, and a"
        " `CANCEL` that still waits for one."
    )
    assert all(requirement.level for requirement in REQUIREMENTS.values())


def test_a_section_has_those_within_it() -> None:
    one = REQUIREMENTS["ESPS-END-7"]
    assert in_section(one, "6")
    assert in_section(one, "6.5")
    assert not in_section(one, "6.4")
    assert not in_section(one, "6.50")
    assert not in_section(REQUIREMENTS["ESPS-SVC-1"], "1")
