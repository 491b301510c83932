"""What the command says of faults that never struck, once its server has ended."""

from __future__ import annotations

from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.log import log
from esps_portal.mock.never_struck import why_never_struck
from esps_portal.protocol.escape import visible


def log_never_struck(faults: FaultRegistry) -> None:
    """Say of each fault that never struck why: it may be mistyped."""
    for fault in faults.never_struck:
        why = why_never_struck(fault, faults)
        log.info("fault never struck: %s: %s", visible(str(fault)), visible(why))
