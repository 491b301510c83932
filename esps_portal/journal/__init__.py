"""What happened: records, the transcript for a person, recordings for a replay.

`journal` keeps records, in order and bounded; `waiters` wait for calls; `recording` and
`record_file` write them as JSON lines; `tap` reads ESPS/1 out of what a proxy passes.
"""
