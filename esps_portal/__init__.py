"""ESPS/1 for IANA's silent port 2867: a reference server and client over TCP and UDP.

Everything that a program needs is here; it is imported when it is first used, so that a command
that needs no network does not wait for one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from esps_portal.client.connecting import connect as connect
    from esps_portal.portal.answering import Portal as Portal
    from esps_portal.portal.services import CallContext as CallContext
    from esps_portal.protocol.errors import ClosedError as ClosedError
    from esps_portal.protocol.errors import EspsError as EspsError
    from esps_portal.protocol.errors import PeerError as PeerError
    from esps_portal.protocol.errors import ProtocolError as ProtocolError
    from esps_portal.protocol.errors import ReplyError as ReplyError
    from esps_portal.protocol.errors import SlowConsumerError as SlowConsumerError
    from esps_portal.protocol.errors import TimedOutError as TimedOutError
    from esps_portal.protocol.errors import UnreachableError as UnreachableError
    from esps_portal.protocol.limits import Limits as Limits
    from esps_portal.server.serving import Listening as Listening
    from esps_portal.server.serving import ServerConfig as ServerConfig
    from esps_portal.server.serving import serve as serve

_HOMES = {
    "PeerError": "protocol.errors",
    "CallContext": "portal.services",
    "ClosedError": "protocol.errors",
    "EspsError": "protocol.errors",
    "Limits": "protocol.limits",
    "Listening": "server.serving",
    "Portal": "portal.answering",
    "ProtocolError": "protocol.errors",
    "ReplyError": "protocol.errors",
    "ServerConfig": "server.serving",
    "SlowConsumerError": "protocol.errors",
    "TimedOutError": "protocol.errors",
    "UnreachableError": "protocol.errors",
    "connect": "client.connecting",
    "serve": "server.serving",
}

__all__ = sorted([*_HOMES, "__version__"])  # noqa: PLE0605 - a sorted list is a list


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the module's attributes are of every type
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
