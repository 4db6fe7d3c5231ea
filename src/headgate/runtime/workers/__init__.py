"""Several processes that serve one gateway: a controller that knows, and workers that are told."""
