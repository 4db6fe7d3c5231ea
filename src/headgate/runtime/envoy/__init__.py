"""Envoy as the data plane: a child of ours, its files, and who it asks."""
