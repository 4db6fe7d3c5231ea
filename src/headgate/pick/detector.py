"""When is an endpoint full?"""

from msgspec import Struct

from headgate.fleet.endpoint import Load


class Detector(Struct, frozen=True):
    """When an endpoint is full: by what it reports (utilization-detector), or by our own requests there.

    The field's detector calls loads stale after 200 ms; at a scrape each 50 ms and slower when idle, one slow answer
    would make it shed requests from servers that have nothing to do.
    """

    queue_depth: int = 5  # waiting requests (queueDepthThreshold)
    kv_usage: float = 0.8  # kvCacheUtilThreshold
    stale_after_s: float = 2.0
    concurrency: int = 0  # of our own requests in flight (concurrency-detector's maxConcurrency); 0: by the loads
    tokens: int = 0  # of our own in flight (maxTokenConcurrency); with `concurrency`, whichever is nearer to its most

    def fullness(self, load: Load, sent: int, now: float, tokens: int = 0) -> float:
        """1 and more is full. Without a load, or with a stale one, it counts as full."""
        if self.concurrency or self.tokens:
            by_requests = sent / self.concurrency if self.concurrency else 0.0
            return max(by_requests, tokens / self.tokens) if self.tokens else by_requests
        if load.at is None or now - load.at > self.stale_after_s:
            return 1.0
        usage = (load.kv_usage or 0.0) / self.kv_usage if self.kv_usage else float(bool(load.kv_usage))
        return max((load.waiting or 0) / self.queue_depth, usage)
