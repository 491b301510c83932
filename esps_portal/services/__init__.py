"""What a service is, how a request is dispatched to one, and the built-in services.

`service` declares one, `dispatch` answers requests, and `builtin*` are those that every portal has.
Nothing here sends or receives; a service may import trio to wait.
"""
