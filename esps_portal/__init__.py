"""A real TCP and UDP peer for tests: an ESPS/1 portal, a proxy, or a peer of any protocol.

Everything that a program needs is importable from here. Each name is imported when it is first
used, so a command that needs no network does not wait for trio.

How the data flows, module by module:

**A request over TCP.** `net.acceptor` accepts a connection, and `server.serving` creates a
`server.connection` for it. A connection that only has to answer what arrives needs no task: it is
parked in the `net.ready_set`, which gives it a turn when there is something to read. When it has to
wait for something else, a `server.connection_task` takes over. In both cases `server.reader` passes
the bytes to `protocol.server_connection`, which splits them into lines and parses each line into a
request; `protocol.received_lines` finds all plain requests of a read at once. `server.answerer`
asks `services.dispatch` for the answer, or a stub first (`mock.scripted`). `server.outcomes`
carries the answer out: it writes a reply through `net.writer`, starts a running call
(`server.call_tasks`), or ends the connection. If a fault strikes, `faults.plan` turns the reply
into a list of actions, and `server.reply_writer` has a `net.fault_writer` perform them.
`server.observer` records all of this in the journal, if there is one. `server.endings` is the table
of the ways in which a connection ends: `server.drain` lets running calls finish, `server.closing`
sends the last line and FIN or RST, and `server.teardown` closes the socket. With TLS,
`net.handshake` comes first and `net.tls` then reads and writes in place of the socket. Behind a
load balancer, `net.proxy_header_reader` reads the client's address.

**A request over UDP.** `net.datagram_socket` reads (a flood goes through `net.fair_queue`, in turns
by sender). `server.datagrams` passes each datagram to `protocol.datagram_server`, asks
`services.dispatch`, and sends the reply. Running calls are in `server.datagram_calls`;
`net.datagram_fault_writer` performs faults.

**Any protocol through a proxy.** `proxy.serving` accepts, and `proxy.connector` connects to the
upstream. `proxy.tcp_relay` reads both sides. `proxy.unit_reader` passes what they send to
`proxy.unframed` or `proxy.framed`, which cut it into exchanges. Both use `exchanges.tracker`, which
keeps the journal and asks the faults. A `net.lane` towards each side sends the bytes on: at once,
or as `net.fault_writer` performs a fault. Over UDP, `proxy.udp_relay` has a `proxy.flow` for each
client, which uses the tracker too.

**Any protocol played by a peer.** `peer.serving` accepts. `peer.connection` reads frames, asks
`mock.frame_script` for the answer to each (a conversation, a stub, or a handler of the test), and
sends the actions that `peer.units`, which uses the same tracker, returns for it. `peer.datagrams`
does this over UDP.

**A fault that a test places.** `testing.portal_controller` passes it to the portal's thread
(`testing.loop_thread`). `faults.fault_registry` is asked about each request; the plan takes the way
described above. `net.age_watch` strikes connections that reach an age.

**A request to the control port.** `control.http_handler` reads it, `control.guard` checks that it
is allowed, `control.root` finds its endpoint. The endpoint acts on a `control.controls`, which does
to a server what a test does through its controller.

**A call from the command line.** `cli.calls` uses `cli.session` and `client.connect`;
`protocol.client_connection` matches replies to requests, and `cli.output` prints. In `cli.connect`
the requests are sent from `cli.portal_thread`, so that `cli.prompt_wait` can wait for a typed line.

The packages, from the lowest layer up; none imports from a higher one:

- `protocol`: what ESPS/1 is. No clock, no socket, no trio.
- `services`, `journal`, `faults`, `mock`: what answers, what happened, what goes wrong, what a test
  scripts. They decide, and perform nothing.
- `patterns`: regular expressions searched in one pass, for framings and for patterns from files or
  strangers.
- `framings`: bytes of any protocol to frames and back. No clock, no socket, no trio.
- `exchanges`: what both sides of a connection send, in the journal and under faults.
- `net`: bytes and datagrams over trio. Knows no ESPS/1.
- `server`, `proxy`, `peer`, `client`: built on both, without knowing each other.
- `control`: HTTP and JSON for a portal, proxies and peers, without knowing the rest; `metrics` for
  Prometheus; `inspection` of a port; `conformance`, which knows nothing of the server.
- `testing`, `cli`: the pytest plugin and the portals of tests; the command.
- `signatures` and `deployment` hold files that the command prints; they import nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from esps_portal import blocking as blocking
    from esps_portal import testing as testing
    from esps_portal.client.connect import connect as connect
    from esps_portal.net.listeners import Listeners as Listeners
    from esps_portal.protocol.errors import ClosedError as ClosedError
    from esps_portal.protocol.errors import EspsError as EspsError
    from esps_portal.protocol.errors import PeerError as PeerError
    from esps_portal.protocol.errors import ProtocolError as ProtocolError
    from esps_portal.protocol.errors import ReplyError as ReplyError
    from esps_portal.protocol.errors import SlowConsumerError as SlowConsumerError
    from esps_portal.protocol.errors import TimedOutError as TimedOutError
    from esps_portal.protocol.errors import UnreachableError as UnreachableError
    from esps_portal.protocol.limits import Limits as Limits
    from esps_portal.server.serving import ServerConfig as ServerConfig
    from esps_portal.server.serving import serve as serve
    from esps_portal.services.call import CallContext as CallContext
    from esps_portal.services.dispatch import Portal as Portal
else:
    from esps_portal.exports import lazy_exports

    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            "CallContext": "services.call",
            "ClosedError": "protocol.errors",
            "EspsError": "protocol.errors",
            "Limits": "protocol.limits",
            "Listeners": "net.listeners",
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
