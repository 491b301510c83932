"""A proxy: it passes on what clients and a server of any protocol send, unless a fault strikes.

`serving` accepts and connects to the `upstream`. Over TCP, `tcp_relay` reads both sides, and its
`unit_reader` passes what they send to `framed` or `unframed`, which cut it into exchanges. Over
UDP, `udp_relay` has a `flow` for each client. `loop_detection` finds a proxy that would relay to
itself.
"""
