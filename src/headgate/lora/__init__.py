"""Which adapters, where?  `diff`: desired, observed → Steps."""
