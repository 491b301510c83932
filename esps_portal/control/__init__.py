"""The control port of a scripted portal: stubs, faults and calls, from any language."""
