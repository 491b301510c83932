"""What a service is, how a request is dispatched to one, and the built-in services.

`service` declares, `dispatch` answers (`Portal`), `builtin*` are the services that every portal
has. Nothing here moves a byte; a service may import trio to wait.
"""
