"""What ESPS/1 is: lines, messages, conversations, datagrams, errors and limits.

Nothing in this package knows a clock, a socket or trio. Bytes and times are handed in; bytes and
values come out. The carriers, whatever their transport, are built on top.
"""
