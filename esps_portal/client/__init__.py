"""The client on trio: TCP and UDP behind one interface, chosen by the URL."""
