"""The client on trio: TCP and UDP behind one face, chosen by the URL."""
