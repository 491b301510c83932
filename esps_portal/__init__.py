"""A real TCP and UDP peer for tests: a portal of ESPS/1, and any other server, real or played.

Everything that a program needs is here; it is imported when it is first used, so that a command
that needs no network does not wait for one.

**The way of a request, over TCP.** `net.acceptor` accepts, and has a `server.connection` made. As
long as that has only to answer what comes it is parked: `net.ready_set` gives it a turn when there
is something to read. What has to be waited for is done by a `server.connection_task`. Either way a
`server.reader` passes the bytes to `protocol.server_connection`, which makes lines of them, and of
a line a request; `protocol.received_lines` finds the plain ones of a whole read at once.
`server.answerer` has them answered by `services.dispatch`, or by a stub before that
(`mock.scripted`). What comes back is carried out by `server.outcomes`: a reply, which goes into
`net.writer`, a call that runs (`server.call_tasks`), or an end. Where a fault strikes,
`faults.plan` makes the reply a list of actions, for which `server.reply_writer` has a
`net.fault_writer`. `server.observer` notes all of it in the journal, if there is one.
`server.endings` is the table of what a connection does when it ends, and `server.closing` does it;
`server.drain` lets its calls end first, `server.teardown` closes the socket at last. Over TLS
`net.tls` is the socket, after `net.handshake`; behind a balancer `net.announced` reads whom it
serves.

**Over UDP.** `net.datagram_socket` (of a flood, in turns by sender: `net.fair_queue`),
`server.datagrams`, `protocol.datagram_server`, dispatch, and back; a call runs in
`server.datagram_calls`; `net.datagram_fault_writer` performs faults.

**Any protocol, through a proxy.** `proxy.serving` accepts and connects, `proxy.tcp_relay` reads
both sides. For `proxy.unit_reader`, `proxy.unframed` or `proxy.framed` cuts what they say into
exchanges; both are built on `exchanges.tracker`, which keeps the journal and asks the faults.
A `net.lane` to each side sends it on, at once or as `net.fault_writer` performs it. Over UDP
`proxy.udp_relay` has a `proxy.flow` for each client, built on the tracker too.

**Any protocol, played by a peer.** `peer.serving` accepts; `peer.connection` reads frames, has
each answered by `mock.frame_script` (a conversation, a stub, or the handler of a test), and sends
what `peer.units`, built on the same tracker, says that faults make of it. Over UDP
`peer.datagrams` does.

**A fault of a test.** `testing.portal_controller` hands it to the portal's thread
(`testing.loop_thread`); `faults.fault_registry` is asked about each request, and the plan goes the
way above. What strikes a connection at an age does so through `net.age_watch`.

**A request to the control port.** `control.http_handler` reads it, `control.guard` says whether it
may be asked, `control.root` finds its endpoint; that does to a `control.controls` what a test
does to its controller.

**A call of the command.** `cli.calls` asks through `cli.session` and `client.connect`;
`protocol.client_connection` pairs requests and replies, and `cli.output` prints. In `cli.connect`
`cli.portal_thread` asks, so that `cli.prompt_wait` can wait for a line that is typed.

The packages, from the lowest layer up; none imports from a higher one:

- `protocol`: what ESPS/1 is. No clock, no socket, no trio.
- `services`, `journal`, `faults`, `mock`: what answers, what happened, what goes wrong, what a test
  scripts. They decide, and perform nothing.
- `patterns`: regular expressions in one pass, for framings and for what a file or a stranger gives.
- `framings`: bytes of any protocol to frames and back. No clock, no socket, no trio.
- `exchanges`: what both sides of a connection say, in the journal and under faults.
- `net`: bytes and datagrams over trio. Knows no ESPS/1.
- `server`, `proxy`, `peer`, `client`: built on both, without knowing each other.
- `control`: HTTP and JSON for a portal, proxies and peers, without knowing the rest; `metrics` for
  Prometheus; `inspection` of a port; `conformance`, which knows nothing of the server.
- `testing`, `cli`: the pytest plugin and the portals of tests; the command.
- `signatures` and `deployment` are files that the command prints; they import nothing.
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
