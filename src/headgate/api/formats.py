"""Forms of text that Kubernetes and the Gateway API prescribe, as annotations that the decoder reads.

`extra["write"]` says what to write instead; `extra["name"]`: a wrong one can be bent into one that fits;
`extra["secret"]` keeps a value out of every message; `extra["number"]` takes a number as the text that it is.
"""

import ipaddress
import re
from fractions import Fraction
from typing import Annotated

import msgspec

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]"
# A quantity of Kubernetes' resource API, at a length that a machine can have.
_NUMBER = r"[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2})?"
_ENDS = "beginning and ending with a letter or a digit"


def _form(pattern: str, write: str, longest: int = 253, shortest: int = 1, name: bool = False) -> msgspec.Meta:
    extra = {"write": write, "name": name}
    return msgspec.Meta(pattern=f"^(?:{pattern})$", min_length=shortest, max_length=longest, extra=extra)


Subdomain = Annotated[str, _form(_DOMAIN, f"write lower-case letters, digits, '-' and '.', {_ENDS}", name=True)]
Label = Annotated[str, _form(_LABEL, f"write at most 63 lower-case letters, digits and '-', {_ENDS}", 63, name=True)]
ServiceName = Annotated[
    str,
    _form(
        r"[a-z]([-a-z0-9]*[a-z0-9])?",
        "write at most 63 lower-case letters, digits and '-', a letter first, a letter or a digit last",
        63,
        name=True,
    ),
]
Group = Annotated[
    str, _form(rf"{_DOMAIN}|", 'write an API group such as inference.networking.k8s.io, or "" for the core', shortest=0)
]
KindName = Annotated[str, _form(r"[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?", "write a kind such as Service", 63)]
LabelKey = Annotated[
    str,
    _form(
        rf"({_DOMAIN}/)?{_QUALIFIED}",
        f"write at most 63 letters, digits, '-', '_' and '.', {_ENDS}, and if you like a DNS name and '/' before",
        317,
    ),
]
LabelValue = Annotated[
    str, _form(rf"(?:{_QUALIFIED})?", f"write at most 63 letters, digits, '-', '_' and '.', {_ENDS}", 63, 0)
]
Hostname = Annotated[
    str,
    _form(
        rf"(\*\.)?{_DOMAIN}",
        "write a lower-case DNS name such as llm.example.com or *.example.com, without scheme and port",
    ),
]
PreciseHostname = Annotated[
    str, _form(_DOMAIN, "write a lower-case DNS name such as llm.example.com, without scheme and port")
]
Controller = Annotated[
    str, _form(rf"{_DOMAIN}/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", "write DOMAIN/PATH, such as example.com/gateway")
]
Protocol = Annotated[
    str,
    _form(rf"[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?|{_DOMAIN}/[A-Za-z0-9]+", "write HTTP, HTTPS, TLS, TCP or UDP", 255),
]
AbsoluteURI = Annotated[
    str, _form(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+", "write a URI with its scheme, such as spiffe://example.com/server")
]
WellKnown = Annotated[
    str, _form(rf"System|{_DOMAIN}/{_QUALIFIED}|", "write System: the authorities that the system trusts", shortest=0)
]
HeaderName = Annotated[
    str,
    _form(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+", "write letters, digits and '-', without blanks and ':'", 256),
]
HeaderValue = Annotated[
    str, _form(r"[!-~]+([\t ][!-~]+)*", "write visible ASCII characters, with single blanks between them", 4096)
]
Origin = Annotated[
    str,
    _form(
        r"\*|https?://((\*\.)?([a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+|\*)(:[0-9]{1,5})?",
        "write SCHEME://HOST with http or https, such as https://*.example.com or http://localhost:3000, or * for all",
    ),
]
Duration = Annotated[
    str, _form(r"([0-9]{1,5}(h|m|s|ms)){1,4}", 'write a duration such as "30s", "1m30s" or "500ms"', 40)
]
PortName = Annotated[
    str,
    _form(
        r"(?=.*[a-z])[a-z0-9]([a-z0-9]|-(?!-))*(?<!-)",
        "write at most 15 lower-case letters, digits and single '-', with at least one letter",
        15,
        name=True,
    ),
]
EnvName = Annotated[str, _form(r"[ -<>-~]+", "write a name without '=', such as MODEL_PATH", 1024)]
DataKey = Annotated[
    str, _form(r"(?!\.{1,2}$)[-._a-zA-Z0-9]+", "write letters, digits, '-', '_' and '.' only: it becomes a file's name")
]
Quantity = Annotated[
    str,
    msgspec.Meta(pattern=rf"^{_NUMBER}$", extra={"number": True, "write": "write a quantity such as 500m, 2 or 16Gi"}),
]
ResourceName = Annotated[
    str,
    _form(
        rf"cpu|memory|ephemeral-storage|hugepages-[A-Za-z0-9.]+|{_DOMAIN}/{_QUALIFIED}",
        "write cpu, memory or a name with its domain such as nvidia.com/gpu",
        317,
    ),
]
ContainerResource = Annotated[
    str,
    _form(
        r"(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-[A-Za-z0-9.]+)",
        "write limits.cpu, limits.memory, requests.cpu or requests.memory",
    ),
]
Base64 = Annotated[bytes, msgspec.Meta(extra={"secret": True})]
SecretText = Annotated[str, msgspec.Meta(extra={"secret": True})]

_HOST = re.compile(_DOMAIN, re.IGNORECASE)
_DURATION_PART = re.compile(r"([0-9]{1,5})(h|ms|m|s)")
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}  # of durations, in seconds
_QUANTITY = re.compile(r"([+-]?[0-9.]+)([a-zA-Z]*)([+-]?[0-9]*)")
_SCALES = {
    **{
        suffix: Fraction(1000) ** power
        for power, suffix in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)
    },
    **{suffix: Fraction(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}


def seconds(duration: str) -> float:
    """A GEP-2257 duration in seconds: `1m30s` → 90.0. "" and what is no duration give 0.0."""
    return sum(int(number) * UNITS[unit] for number, unit in _DURATION_PART.findall(duration))


def amount(quantity: str) -> Fraction | None:
    """What a quantity amounts to: `500m` → 1/2, `1Ki` → 1024, `1e3` → 1000. None where it is none."""
    match = _QUANTITY.fullmatch(quantity)
    if match is None or not re.fullmatch(_NUMBER, quantity):
        return None
    number, suffix, exponent = match.groups()
    return Fraction(number) * (Fraction(10) ** int(exponent) if exponent else _SCALES[suffix])


def is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def host_port(text: str) -> tuple[str, int] | None:
    """`HOST:PORT` taken apart: IPv4, [IPv6] (the brackets are taken off) or a name. None where it is none of these."""
    host, colon, digits = text.rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,5}", digits) or not 1 <= int(digits) <= 65535:
        return None
    if host.startswith("[") and host.endswith("]"):
        inner = host[1:-1]
        return (inner, int(digits)) if ":" in inner and is_ip(inner) else None
    if len(host) > 253 or not _HOST.fullmatch(host):
        return None
    if host.replace(".", "").isdigit() and not is_ip(host):
        return None
    return host, int(digits)
