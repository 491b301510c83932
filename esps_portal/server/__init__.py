"""ESPS/1 on net/: what serves a connection, and what serves a UDP socket, of a portal.

`serving` composes them. `connection` is one TCP connection: `opening` greets, `reader` reads,
`answerer` has requests answered and `outcomes` carries that out, with `call_tasks` for running
calls and `reply_writer` for replies. `parking` says when it needs no task, `connection_task` is the
one that it needs otherwise. `endings` is the table of its ends, which `closing`, `drain` and
`teardown` perform; `observer` notes all of it. `datagrams` is all of that over UDP.
"""
