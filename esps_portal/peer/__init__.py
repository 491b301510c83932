"""A peer: it plays the server of any protocol, from stubs, conversations and handlers.

`serving` accepts; `connection` reads frames of one connection, has each answered and sends the
answer, as faults change it; `datagrams` does this over UDP. What to answer is decided in
`mock.frame_script`.
"""
