"""Bytes to frames and back, pure: where a message of any protocol ends.

`framing` defines what a framing is. `delimiters`, `sizes`, `transport_ends` and `patterns` are
those of this package. `splitter` reads a stream with one of them, or with a user's own through
`custom`. `parse` reads the text by which the command line and scenario files name a framing.

Nothing here has a socket, a clock or a task, and nothing here knows ESPS/1.
"""
