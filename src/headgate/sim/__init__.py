"""What would a model server do?  `step`: continuous batching on virtual time. Imports nothing of ours."""
