"""What a portal does with a request, whatever carried it: services, and the one pipeline.

Nothing here knows a socket. A carrier hands in a request and a `Caller`, and gets a reply, a call
to run, or a farewell to perform.
"""
