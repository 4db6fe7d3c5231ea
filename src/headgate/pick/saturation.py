"""`saturation`: how full a pool is, for shedding what may be shed."""

from headgate.pick.standing import Standing

QUEUE_DEPTH = 5  # waiting requests at which an endpoint is full (utilization-detector's queueDepthThreshold)
KV_USAGE = 0.8  # KV-cache usage at which it is (kvCacheUtilThreshold)
STALE_AFTER = 2.0  # seconds


def saturation(standing: Standing, now: float) -> float:
    """The mean over the endpoints that are ready of max(waiting / 5, KV usage / 0.8); 1 and more is full.

    An endpoint whose metrics are missing or older than 2 s counts as full, and so does a pool without endpoints. The
    field's detector calls loads stale after 200 ms; at a scrape each 50 ms and slower when idle, one slow answer
    would make it shed requests from servers that have nothing to do. A gauge that an engine does not have counts 0.
    The legacy admission rule on top of it: priority < 0 and saturation ≥ 1 → 429.
    """
    total = 0.0
    count = 0
    for endpoint, load in zip(standing.endpoints, standing.loads, strict=True):
        if not endpoint.ready or endpoint.draining:
            continue
        count += 1
        if load.at is None or now - load.at > STALE_AFTER:
            total += 1.0
        else:
            total += max((load.waiting or 0) / QUEUE_DEPTH, (load.kv_usage or 0.0) / KV_USAGE)
    return total / count if count else 1.0
