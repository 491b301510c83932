"""ESPS/1 served with net/: the connections and the UDP sockets of a portal.

`serving` combines everything. `connection` is one TCP connection: `opening` greets, `reader` reads,
`answerer` gets the answer to each request and `outcomes` carries it out, with `call_tasks` for
running calls and `reply_writer` for replies. `parking` says when the connection needs no task, and
`connection_task` is its task at other times. `endings` is the table of its ends; `drain`, `closing`
and `teardown` perform one. `observer` records all of this. `datagrams` is the same over UDP.
"""
