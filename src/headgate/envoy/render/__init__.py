"""How does Envoy serve the plan?  `render`: listeners, pools and their endpoints → Envoy's configuration, file by file.

All of it is plain data. What Envoy can do by itself it does; what only the exchange knows (models, keys, sessions,
which endpoint of an inference pool) it asks for by ext_proc. Source: Envoy's API v3.
"""

from headgate.envoy.render.files import encode, render
from headgate.envoy.render.settings import Settings, Socket

__all__ = ["Settings", "Socket", "encode", "render"]
