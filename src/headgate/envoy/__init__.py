"""Envoy ↔ exchange, and Plan → Envoy configuration."""
