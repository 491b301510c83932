"""What users of other tools are told to write is there."""

from __future__ import annotations

import re

from esps_portal.faults import other_tools
from esps_portal.faults.fault_types import FAULT_TYPES, SELECTORS

OPTIONS = {*SELECTORS, *(name for each in FAULT_TYPES.values() for name in each.parameters)}


def test_each_fault_and_selector_that_is_named_is_there() -> None:
    for foreign, here in other_tools.FAULTS.items():
        assert foreign not in FAULT_TYPES
        assert set(re.findall(r"(?<!=)'([a-z-]+)'", here)) <= set(FAULT_TYPES)
        assert set(re.findall(r"(\w+)=", here)) <= OPTIONS


def test_each_parameter_that_is_named_is_there() -> None:
    assert set(other_tools.PARAMETERS.values()) <= OPTIONS
