"""Faults, pure: their types, which unit each one hits, and the plan that it makes of that unit.

`fault_types` is the vocabulary, `fault` selects and counts, `plan` is a list of actions. Nothing
here sends or waits: `esps_portal.net.fault_writer` performs a plan.
"""
