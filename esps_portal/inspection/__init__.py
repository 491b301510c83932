"""Which sockets use a port on this machine, whether they speak ESPS/1, and what is registered.

`sockets` lists the sockets, with `proc_net` where a process is hidden; `probe` connects to them;
`facts` looks up the number; `report` puts it together; `text_report` and `tool_tables` print it.
Nothing here imports trio or starts another program: plain sockets with timeouts, psutil, and the
system's own tables.
"""
