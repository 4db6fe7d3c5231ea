"""Which authorities does the system trust?"""

import ssl

from headgate.envoy.render import Settings


def trusted() -> str:
    """The file with their certificates: OpenSSL's, else where most systems have it."""
    return ssl.get_default_verify_paths().cafile or Settings().authorities
