"""Bytes over trio: streams, datagrams, accepting, the reserved port, faults performed.

Nothing here knows ESPS/1: what serves a connection or a datagram is handed in.
"""
