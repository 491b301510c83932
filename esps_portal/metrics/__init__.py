"""Counters of a served portal for Prometheus, and whether it is healthy.

`collector` is a sink of the journal; `pages` answers HTTP. Without them nothing is counted.
"""
