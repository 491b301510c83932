"""The control port: stubs, faults, journal and outages of a running server, over HTTP and JSON.

**The way of a request.** `serving` accepts; `http_handler` runs one connection; its
`http_connection` makes requests of bytes, on h11, and bytes of replies. `guard` says whether the
request is allowed, `router` finds its endpoint in a table, and `endpoint` reads its body.
Then a function of `faults`, `stubs`, `journals`, `waits`, `state` or `root` is called with what it
controls and the request, and returns values for JSON, which `json_blocks` encodes.

What is controlled is a `controls.ServerControls`, whatever the server is: `portal_controls`,
`proxy_controls` and `peer_controls` make one; `server_kinds` says how a proxy or a peer is started
beside it, and `named_servers` starts and keeps them. The control port shares no port, no limit and
no fault with what it controls.
"""
