"""What did the user write?  `load`: YAML or JSON texts → Snapshot and Problems."""
