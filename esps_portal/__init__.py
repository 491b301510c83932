"""ESPS/1 for IANA's silent port 2867: a reference server and client over TCP and UDP.

All public names of the library are here. Each is imported when it is first used, so that a
command that needs no network does not wait for trio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from esps_portal import blocking as blocking
    from esps_portal import testing as testing
    from esps_portal.client.connect import connect as connect
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
    from esps_portal.services.dispatch import Portal as Portal
    from esps_portal.services.service import CallContext as CallContext
else:
    from esps_portal.exports import lazy_exports

    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            "CallContext": "services.service",
            "ClosedError": "protocol.errors",
            "EspsError": "protocol.errors",
            "Limits": "protocol.limits",
            "Listening": "server.serving",
            "PeerError": "protocol.errors",
            "Portal": "services.dispatch",
            "ProtocolError": "protocol.errors",
            "ReplyError": "protocol.errors",
            "ServerConfig": "server.serving",
            "SlowConsumerError": "protocol.errors",
            "TimedOutError": "protocol.errors",
            "UnreachableError": "protocol.errors",
            "blocking": "",
            "connect": "client.connect",
            "serve": "server.serving",
            "testing": "",
        },
        "__version__",
    )
