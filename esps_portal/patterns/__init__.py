"""Regular expressions that are searched in one pass, whatever the pattern is.

Nothing here knows frames or services.
"""
