"""gRPC over HTTP/2, the server's side: as much of both as proxies and health probes speak.

Calls cost no task and no coroutine: what comes is put to a function, what that says goes out with all else of the same
turn of the event loop.
"""
