"""Who holds a port on this machine, whether it speaks ESPS/1, and what the registries say.

`holders` looks, `probe` asks, `facts` looks up, `columns` and `report` say it. Nothing here waits
for trio or starts another program: plain sockets with time-outs, psutil, and the tables of the
system.
"""
