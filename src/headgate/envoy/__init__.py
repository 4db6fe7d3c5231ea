"""Envoy ↔ exchange by external processing (ext_proc), and Plan → Envoy configuration."""
