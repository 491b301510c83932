"""Faults, pure: their types, which target each one strikes, and the plan for its reply.

`fault_types` is the table of all types, `fault` selects and counts, `fault_registry` has those that
are placed, `plan` makes a list of actions. Nothing here sends or waits:
`net.fault_writer` performs a plan.
"""
