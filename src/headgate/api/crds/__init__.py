"""What must a cluster know of our kinds?  `crds`: the shapes that are read → CustomResourceDefinitions."""

from headgate.api.crds.definitions import crds

__all__ = ["crds"]
