"""ESPS/1 itself: lines, messages, connections, datagrams, errors and limits.

Nothing here uses a clock, a socket or trio. The caller passes in bytes and times, and gets bytes
and values. The transports are in ``net`` and ``client``.
"""
