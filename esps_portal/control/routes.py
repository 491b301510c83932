"""The table of the endpoints of a server: at the root, or below ``/proxies/NAME``."""

from __future__ import annotations

from esps_portal.control import faults, journals, pushes, state, stubs, waits
from esps_portal.control.endpoint import JSON, TOML, Endpoint
from esps_portal.control.router import Routes

#: The endpoints of every server.
SERVER_ROUTES: Routes = {
    "faults": {
        "GET": Endpoint(faults.list_faults),
        "POST": Endpoint(faults.place_fault, needs_body=True),
        "DELETE": Endpoint(faults.remove_faults),
    },
    "faults/*": {"DELETE": Endpoint(faults.remove_fault)},
    "calls": {"GET": Endpoint(journals.list_calls, query=("service",))},
    "exchanges": {"GET": Endpoint(journals.list_exchanges, query=("match",))},
    "connections": {"GET": Endpoint(journals.list_connections)},
    "transcript": {"GET": Endpoint(journals.show_transcript)},
    "wait": {"POST": Endpoint(waits.wait, may_wait=True)},
    "verify": {"POST": Endpoint(state.verify)},
    "reset": {"POST": Endpoint(state.reset)},
    "down": {"POST": Endpoint(state.go_down), "DELETE": Endpoint(state.come_back)},
    "scenario": {
        "GET": Endpoint(state.show_scenario),
        "PUT": Endpoint(state.replace_scenario, needs_body=True, types=(JSON, TOML)),
    },
}
#: The endpoints of a server that answers by itself: a portal or a peer.
STUB_ROUTES: Routes = {
    "stubs": {
        "GET": Endpoint(stubs.list_stubs),
        "POST": Endpoint(stubs.place_stub, needs_body=True),
    },
    "stubs/*": {"DELETE": Endpoint(stubs.remove_stub)},
}
#: The endpoint of a server that can send unsolicited frames: a peer.
PUSH_ROUTES: Routes = {"push": {"POST": Endpoint(pushes.push, needs_body=True)}}
