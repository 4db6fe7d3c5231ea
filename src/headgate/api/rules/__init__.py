"""What each kind must fulfil beyond the form of its fields: the CRDs' CEL rules and the API server's checks.

A rule looks at one object as written and yields faults: (Meta, shape) → Iterator[Fault].
"""
