"""Files to run a portal with: units, container files, manifests, and configurations.

They are data, each in the folder of its kind; `kinds` lists them.
"""
