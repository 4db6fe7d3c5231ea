"""The Kubernetes API as a source of objects and of endpoints, and as the place where statuses go."""
