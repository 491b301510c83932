"""A proxy: it passes bytes and datagrams on as they come, and shows them to an observer."""
