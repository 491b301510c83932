"""Checks whether an implementation of ESPS/1 keeps its specification, as far as a peer can see it.

`vectors` reads the test vectors of the specification; their `steps` are values. `template` fills in
what a run chooses (tags, names, limits), and `pattern` compares a received line with those that are
allowed. `tcp_session` and `udp_session` carry out the steps of a vector over sockets, `runner` runs
many vectors, and `judge` decides which ones apply to a server. `client_run` does the opposite: it
serves `client_cases` to a client, by `client_tcp` or `client_udp`. `results` collects the outcomes,
and `text_report`, `json_report`, `junit` and `html_report` show them.

It must not know how our own server, client and codec work: it imports nothing of them, and parses
lines itself, so that a bug of ours cannot hide here.
"""
