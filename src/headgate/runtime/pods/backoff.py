"""When is a container that ended started again? Pure."""

from msgspec import Struct

FIRST = 1.0  # seconds; kubelet's is 10, but no image is pulled here and somebody is watching
LONGEST = 300.0
FORGET_AFTER = 600.0  # seconds of running
STEADY = 5.0  # seconds of being ready


class Backoff(Struct, frozen=True):
    """How long to wait before the next start; the first restart comes at once, as kubelet's does."""

    delay: float = 0.0

    def after(self, ran: float, ready: float) -> tuple[float, "Backoff"]:
        """The seconds to wait now, and the back-off for the time after, of a container that `ran` and was `ready`.

        Kubelet forgets after 10 minutes of running. So do we, and also once a server was ready for 5 s: that is no
        crash loop, and a pool on one machine is too small to leave a server that works waiting.
        """
        delay = 0.0 if ran >= FORGET_AFTER or ready >= STEADY else self.delay
        return delay, Backoff(min(delay * 2, LONGEST) if delay else FIRST)
