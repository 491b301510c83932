"""Names of faults in other tools, and what to write instead, for the error that their users get.

toxiproxy 2.12 (its toxics and their attributes), WireMock 3 and mountebank 2 (their faults), and
netem of Linux (tc-netem(8)). None of these names is accepted, since each has its own unit,
direction or end; a user who reads what the fault is called here is not surprised later.
"""

from __future__ import annotations

from collections.abc import Collection

#: Faults of other tools, in lower case with _, and what they are here.
FAULTS = {
    "timeout": "'stall', or 'close' with age=",
    "reset_peer": "'reset'",
    "slicer": "'slice' with every=",
    "limit_data": "'close' with offset= and unit='connection'",
    "down": "down(), which is no fault",
    "connection_reset_by_peer": "'reset'",
    "empty_response": "'close'",
    "random_data_then_close": "'garbage'",
    "malformed_response_chunk": "'garbage' with offset=",
    "chunked_dribble_delay": "'slice' with every=, or 'bandwidth'",
    "loss": "'drop' with chance=",
    "rate": "'bandwidth'",
    "jitter": "'latency' with jitter=; over UDP 'delay'",
}

#: The same of parameters.
PARAMETERS = {
    "ms": "seconds",
    "milliseconds": "seconds",
    "latency": "seconds",
    "delay": "seconds",
    "rate": "bytes_per_second",
    "toxicity": "chance",
    "probability": "chance",
    "loss": "chance",
    "stream": "to",
    "direction": "to",
    "average_size": "every",
    "count": "times",
}


def fault_here(name: object) -> str:
    """Return what a fault of another tool is called here, as text; empty: it is not known."""
    return FAULTS.get(str(name).lower().replace("-", "_"), "")


def parameter_here(name: str, allowed: Collection[str]) -> str:
    """Return which of the parameters is that of another tool; empty: none is."""
    here = PARAMETERS.get(name.lower(), "")
    return here if here in allowed else ""
