"""Portals for test suites: in a thread, inside trio, in memory; and the pytest plugin.

What is here is imported when it is first used: a suite that has the plugin and does not use it
does not wait for trio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esps_portal.net.bind import CannotBindError as CannotBindError
    from esps_portal.portal.matching import ANY as ANY
    from esps_portal.portal.matching import ANY_ARGS as ANY_ARGS
    from esps_portal.portal.plain import ScenarioError as ScenarioError
    from esps_portal.portal.recording import RecordingError as RecordingError
    from esps_portal.portal.records import Entry as Entry
    from esps_portal.portal.records import RecordedCall as RecordedCall
    from esps_portal.portal.records import RecordedConnection as RecordedConnection
    from esps_portal.portal.stubs import Stub as Stub
    from esps_portal.portal.stubs import StubError as StubError
    from esps_portal.portal.vocabulary import FaultError as FaultError
    from esps_portal.server.record_file import CannotRecordError as CannotRecordError
    from esps_portal.testing.fault_overloads import FaultName as FaultName
    from esps_portal.testing.findings import VerificationError as VerificationError
    from esps_portal.testing.inside import open_portal as open_portal
    from esps_portal.testing.memory import MemoryPortal as MemoryPortal
    from esps_portal.testing.memory import open_memory_portal as open_memory_portal
    from esps_portal.testing.options import PortalFactory as PortalFactory
    from esps_portal.testing.options import PortalOptions as PortalOptions
    from esps_portal.testing.placed import NotStruckError as NotStruckError
    from esps_portal.testing.placed import Outage as Outage
    from esps_portal.testing.placed import PlacedFault as PlacedFault
    from esps_portal.testing.running import NotCalledError as NotCalledError
    from esps_portal.testing.running import PortalEndedError as PortalEndedError
    from esps_portal.testing.running import RunningPortal as RunningPortal
    from esps_portal.testing.session import PortalAddress as PortalAddress
    from esps_portal.testing.threaded import serve_in_thread as serve_in_thread
else:
    from esps_portal.exports import lazy_exports

    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            "ANY": "portal.matching",
            "ANY_ARGS": "portal.matching",
            "CannotBindError": "net.bind",
            "CannotRecordError": "server.record_file",
            "Entry": "portal.records",
            "FaultError": "portal.vocabulary",
            "FaultName": "testing.fault_overloads",
            "MemoryPortal": "testing.memory",
            "NotCalledError": "testing.running",
            "NotStruckError": "testing.placed",
            "Outage": "testing.placed",
            "PlacedFault": "testing.placed",
            "PortalAddress": "testing.session",
            "PortalEndedError": "testing.running",
            "PortalFactory": "testing.options",
            "PortalOptions": "testing.options",
            "RecordedCall": "portal.records",
            "RecordedConnection": "portal.records",
            "RecordingError": "portal.recording",
            "RunningPortal": "testing.running",
            "ScenarioError": "portal.plain",
            "Stub": "portal.stubs",
            "StubError": "portal.stubs",
            "VerificationError": "testing.findings",
            "open_memory_portal": "testing.memory",
            "open_portal": "testing.inside",
            "serve_in_thread": "testing.threaded",
        },
    )
