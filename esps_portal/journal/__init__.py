"""What happened: records, the transcript for a person, recordings to replay, captures.

`journal` keeps records, in order and bounded; `waiters` wait for calls; `recording` and
`record_file` write them as JSON lines to an `append_file`; `tap` reads the ESPS/1 that a proxy
relays. `pcap` and `pcap_file` write any protocol as a capture for Wireshark.
"""
