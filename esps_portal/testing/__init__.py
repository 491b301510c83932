"""Portals, proxies and peers for tests: in a thread, inside trio, in memory; the pytest plugin.

Each name is imported when it is first used, so that a suite that has the plugin and does not use
it does not wait for trio.

A test has a `portal_controller`, a `proxy_controller` or a `peer_controller`. Each is a
`server_controller`, on `controlled_server`: faults (`fault_overloads`), a `journal_view`, waits
(`record_waits`) and a `review`. All of it happens in the event loop of the server, a `portal_loop`:
that of a thread (`server_thread`, on a `loop_thread`; `threaded_portal` and its like), or the
test's own (`current_loop`; `trio_portal` and its like). While the one in a thread sleeps, what
needs nothing of trio is done in the test's thread (`loop_pause`). `memory` has pipes in place of
sockets.

The `plugin` lends a `session_portal` to each test, and ends the other servers with it:
`portals_of_test`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esps_portal.faults.parameters import FaultError as FaultError
    from esps_portal.framings.delimiters import delimited as delimited
    from esps_portal.framings.delimiters import lines as lines
    from esps_portal.framings.framing import Framing as Framing
    from esps_portal.framings.framing import FramingError as FramingError
    from esps_portal.framings.patterns import matching as matching
    from esps_portal.framings.sizes import fixed as fixed
    from esps_portal.framings.sizes import length_prefixed as length_prefixed
    from esps_portal.framings.transport_ends import datagrams as datagrams
    from esps_portal.framings.transport_ends import until_close as until_close
    from esps_portal.journal.append_file import CannotRecordError as CannotRecordError
    from esps_portal.journal.recording import RecordingError as RecordingError
    from esps_portal.journal.records import Entry as Entry
    from esps_portal.journal.records import RecordedCall as RecordedCall
    from esps_portal.journal.records import RecordedConnection as RecordedConnection
    from esps_portal.journal.records import RecordedExchange as RecordedExchange
    from esps_portal.journal.values import ScenarioError as ScenarioError
    from esps_portal.mock.answer_chain import StubError as StubError
    from esps_portal.mock.frame_stubs import FrameStub as FrameStub
    from esps_portal.mock.matching import ANY as ANY
    from esps_portal.mock.matching import ANY_ARGS as ANY_ARGS
    from esps_portal.mock.peer_connection import PeerConnection as PeerConnection
    from esps_portal.mock.peer_steps import close as close
    from esps_portal.mock.peer_steps import expect as expect
    from esps_portal.mock.peer_steps import raw as raw
    from esps_portal.mock.peer_steps import reset as reset
    from esps_portal.mock.peer_steps import send as send
    from esps_portal.mock.peer_steps import wait as wait
    from esps_portal.mock.planned_fault import PlannedFault as PlannedFault
    from esps_portal.mock.scripted_conversation import ScriptedConversation as ScriptedConversation
    from esps_portal.mock.stubs import Stub as Stub
    from esps_portal.net.bind import CannotBindError as CannotBindError
    from esps_portal.proxy.serving import OwnUpstreamError as OwnUpstreamError
    from esps_portal.proxy.upstream import UpstreamError as UpstreamError
    from esps_portal.testing.fault_selectors import FaultName as FaultName
    from esps_portal.testing.handles import NotStruckError as NotStruckError
    from esps_portal.testing.handles import Outage as Outage
    from esps_portal.testing.handles import PlacedFault as PlacedFault
    from esps_portal.testing.memory import MemoryPortal as MemoryPortal
    from esps_portal.testing.memory import open_memory_portal as open_memory_portal
    from esps_portal.testing.peer_controller import PeerController as PeerController
    from esps_portal.testing.peer_options import PeerFactory as PeerFactory
    from esps_portal.testing.peer_options import PeerOptions as PeerOptions
    from esps_portal.testing.portal_controller import PortalController as PortalController
    from esps_portal.testing.portal_loop import PortalEndedError as PortalEndedError
    from esps_portal.testing.portal_options import PortalFactory as PortalFactory
    from esps_portal.testing.portal_options import PortalOptions as PortalOptions
    from esps_portal.testing.proxy_controller import ProxyController as ProxyController
    from esps_portal.testing.proxy_options import ProxyFactory as ProxyFactory
    from esps_portal.testing.proxy_options import ProxyOptions as ProxyOptions
    from esps_portal.testing.record_waits import NoConnectionError as NoConnectionError
    from esps_portal.testing.record_waits import NoExchangeError as NoExchangeError
    from esps_portal.testing.record_waits import NotCalledError as NotCalledError
    from esps_portal.testing.review import VerificationError as VerificationError
    from esps_portal.testing.session_portal import PortalAddress as PortalAddress
    from esps_portal.testing.threaded_peer import peer_in_thread as peer_in_thread
    from esps_portal.testing.threaded_portal import serve_in_thread as serve_in_thread
    from esps_portal.testing.threaded_proxy import proxy_in_thread as proxy_in_thread
    from esps_portal.testing.trio_peer import open_peer as open_peer
    from esps_portal.testing.trio_portal import open_portal as open_portal
    from esps_portal.testing.trio_proxy import open_proxy as open_proxy
else:
    from esps_portal.exports import lazy_exports

    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            "ANY": "mock.matching",
            "ANY_ARGS": "mock.matching",
            "CannotBindError": "net.bind",
            "CannotRecordError": "journal.append_file",
            "Entry": "journal.records",
            "FaultError": "faults.parameters",
            "FaultName": "testing.fault_selectors",
            "FrameStub": "mock.frame_stubs",
            "Framing": "framings.framing",
            "FramingError": "framings.framing",
            "MemoryPortal": "testing.memory",
            "NoConnectionError": "testing.record_waits",
            "NoExchangeError": "testing.record_waits",
            "NotCalledError": "testing.record_waits",
            "NotStruckError": "testing.handles",
            "Outage": "testing.handles",
            "OwnUpstreamError": "proxy.serving",
            "PeerConnection": "mock.peer_connection",
            "PeerController": "testing.peer_controller",
            "PeerFactory": "testing.peer_options",
            "PeerOptions": "testing.peer_options",
            "PlacedFault": "testing.handles",
            "PlannedFault": "mock.planned_fault",
            "PortalAddress": "testing.session_portal",
            "PortalController": "testing.portal_controller",
            "PortalEndedError": "testing.portal_loop",
            "PortalFactory": "testing.portal_options",
            "PortalOptions": "testing.portal_options",
            "ProxyController": "testing.proxy_controller",
            "ProxyFactory": "testing.proxy_options",
            "ProxyOptions": "testing.proxy_options",
            "RecordedCall": "journal.records",
            "RecordedConnection": "journal.records",
            "RecordedExchange": "journal.records",
            "RecordingError": "journal.recording",
            "ScenarioError": "journal.values",
            "ScriptedConversation": "mock.scripted_conversation",
            "Stub": "mock.stubs",
            "StubError": "mock.answer_chain",
            "UpstreamError": "proxy.upstream",
            "VerificationError": "testing.review",
            "close": "mock.peer_steps",
            "datagrams": "framings.transport_ends",
            "delimited": "framings.delimiters",
            "expect": "mock.peer_steps",
            "fixed": "framings.sizes",
            "length_prefixed": "framings.sizes",
            "lines": "framings.delimiters",
            "matching": "framings.patterns",
            "open_memory_portal": "testing.memory",
            "open_peer": "testing.trio_peer",
            "open_portal": "testing.trio_portal",
            "open_proxy": "testing.trio_proxy",
            "peer_in_thread": "testing.threaded_peer",
            "proxy_in_thread": "testing.threaded_proxy",
            "raw": "mock.peer_steps",
            "reset": "mock.peer_steps",
            "send": "mock.peer_steps",
            "serve_in_thread": "testing.threaded_portal",
            "until_close": "framings.transport_ends",
            "wait": "mock.peer_steps",
        },
    )
