"""A peer: it plays the server of any protocol, from stubs, conversations and handlers.

`serving` accepts; `connection` reads frames of one connection, has each answered and sends what
faults make of the answer; `datagrams` does it over UDP. What to answer is decided in
`mock.frame_script`.
"""
