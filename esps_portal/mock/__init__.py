"""What a test scripts: stubs, how they match, verification at the end, scenarios, replay.

`scripted` puts stubs before the services of a portal, and adds faults and a journal.
"""
