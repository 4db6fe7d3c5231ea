"""Envoy ↔ exchange: external processing (ext_proc), where another proxy moves the bytes."""
