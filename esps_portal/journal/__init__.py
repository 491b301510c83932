"""What happened: records, the transcript for a person, recordings to replay.

`journal` keeps records, in order and bounded; `waiters` wait for calls; `recording` and
`record_file` write them as JSON lines; `tap` reads the ESPS/1 that a proxy relays.
"""
