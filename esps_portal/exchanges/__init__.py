"""Exchanges of any protocol: what both sides of a connection send, in the journal and under faults.

Proxies and peers share it. Nothing here has a socket, a clock or a task.
"""
