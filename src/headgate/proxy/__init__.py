"""HTTP/1.1 bytes ↔ exchange: the native data plane."""
