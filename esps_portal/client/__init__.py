"""The clients, on trio and blocking: TCP and UDP with one interface, chosen by the URL."""
