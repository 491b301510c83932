"""Regular expressions in one pass over the bytes or the text, however they are written.

They know neither frames nor services.
"""
