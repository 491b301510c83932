"""Who holds a port on this machine, whether it speaks ESPS/1, and what the registries say.

`holders` looks at sockets, `probe` asks them, `facts` looks up the number, `columns` and `report`
present the result. Nothing here imports trio or starts another program: plain sockets with
time-outs, psutil, and the system's own tables.
"""
