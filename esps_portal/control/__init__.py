"""The control port: stubs, faults, journal and outages of a running server, over HTTP and JSON.

**How a request is handled.** `serving` accepts; `http_handler` runs one connection. Its
`http_connection` parses bytes into requests and encodes replies, with h11. `guard` checks that the
request is allowed, `router` finds its endpoint in a table, and `endpoint` parses its body. Then a
function of `faults`, `stubs`, `journals`, `waits`, `state` or `root` is called with what it
controls and the request, and returns values, which `json_blocks` encodes as JSON.

Every server is controlled through a `controls.ServerControls`, which `portal_controls`,
`proxy_controls` or `peer_controls` makes. `server_kinds` says how a proxy or a peer is started
beside the main server; `named_servers` starts and keeps them. The control port shares no port, no
limit and no fault with what it controls.
"""
