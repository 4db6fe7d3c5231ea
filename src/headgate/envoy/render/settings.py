"""What a configuration depends on besides the plan, and how its parts are called."""

from typing import Any, Literal

from msgspec import Struct

from headgate.exchange.edits import ServedAt
from headgate.plan.plan import Listener

Data = dict[str, Any]

PROCESSOR = "headgate-processor"  # the cluster


class Socket(Struct, frozen=True):
    """Listeners that share an address. `served`: where all listeners of their gateway are served."""

    address: str
    port: int
    listeners: tuple[Listener, ...]
    served: tuple[ServedAt, ...] = ()
    more: tuple[str, ...] = ()  # addresses, where a name stands for several

    @property
    def name(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Settings(Struct, frozen=True):
    """Bytes, counts and seconds are those of the native data plane's flags; infinity is no limit."""

    folder: str = "."  # where the files will stand: Envoy is told of their whole paths
    form: Literal["yaml", "json"] = "yaml"
    processor: str = "processor.sock"  # the Unix socket of ours; from where Envoy runs, if it is no whole path
    log: str = "/dev/stdout"  # of what Envoy serves by itself
    admin: tuple[str, int] = ("127.0.0.1", 9901)
    body: int = 64 << 20
    head: int = 32 << 10
    headers: int = 100
    connections: int = 1 << 20  # of clients, all together
    connect_s: float = 3.0
    first_byte_s: float = 600.0
    silence_s: float = 300.0
    request_s: float | None = None  # of the whole of one, where neither route nor pool says
    patience_s: float = 1000.0  # for the processor, where requests may queue
    tries: int = 3
    eject_after: int = 5
    authorities: str = "/etc/ssl/certs/ca-certificates.crt"  # those that the system trusts

    def path(self, name: str) -> str:
        """The whole path of a file, with its ending."""
        return f"{self.folder}/{name}.{self.form}"


def typed(name: str, **fields: Any) -> Data:
    """A message of Envoy's by its name, without the prefix that all have in common."""
    return {"@type": f"type.googleapis.com/envoy.{name}", **fields}


def seconds(number: float | None) -> str:
    """A protobuf Duration as text; none, and infinity, are 0: no limit."""
    if number is None or number == float("inf"):
        return "0s"
    return f"{number:.9f}".rstrip("0").rstrip(".") + "s"


def safe(name: str) -> str:
    """A name as part of a file's. Names of Kubernetes have no underscore, so that two stay two."""
    return "".join(c if c.isalnum() or c in "-." else "_" for c in name)


def place_name(socket: Socket, listener: Listener | None) -> str:
    """Of a route configuration: the socket's, or where TLS tells them apart that of one listener."""
    return socket.name if listener is None else f"{socket.name}/{listener.name}"
