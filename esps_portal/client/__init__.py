"""The clients, on trio and blocking: TCP and UDP with one interface; the URL chooses the transport.

`connect` returns a `portal_client` over `tcp` or `udp`; `blocking_client` is the same without trio.
"""
