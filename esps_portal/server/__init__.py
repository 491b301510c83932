"""ESPS/1 on net/: what serves a connection, and what serves a UDP socket, of a portal.

`serving` composes them; `connection` is the life of a connection, `answerer` its requests,
`call_tasks` its running calls, `reply_writer` its replies, `endings` its end, `observer` its notes;
`datagrams` is all of that over UDP.
"""
