"""Which name does a client ask for?  The first bytes of a TLS connection → the server name in its ClientHello.

It is known before TLS begins, so each listener has sessions and demands on clients that no other one shares. Source:
RFC 8446 §4.1.2 and §5.1, RFC 6066 §3. Versions from SSL 3 on are read alike; what is wrong is for OpenSSL to say.
"""

_HANDSHAKE, _CLIENT_HELLO = 0x16, 0x01
_SERVER_NAME, _HOST_NAME = 0, 0
_RECORD_HEAD, _MESSAGE_HEAD = 5, 4
_MOST_RECORDS = 8  # real ones have one; more than that may be meant to make reading them dear
_LONGEST = 64 << 10


def server_name(data: bytes) -> str | int:
    """The name in lower case, "" where there is none or `data` is no ClientHello.

    A number: it can't be told before so many bytes are here.
    """
    hello = b""
    at = 0
    for _ in range(_MOST_RECORDS):
        if len(data) < at + _RECORD_HEAD:
            return at + _RECORD_HEAD
        if data[at] != _HANDSHAKE:
            return ""
        end = at + _RECORD_HEAD + int.from_bytes(data[at + 3 : at + 5])
        if len(data) < end:
            return end
        hello += data[at + _RECORD_HEAD : end]
        if len(hello) >= _MESSAGE_HEAD:
            size = _MESSAGE_HEAD + int.from_bytes(hello[1:4])
            if hello[0] != _CLIENT_HELLO or size > _LONGEST:
                return ""
            if len(hello) >= size:
                return _named(hello[:size])
        at = end
    return ""


def _named(hello: bytes) -> str:
    try:
        at = _MESSAGE_HEAD + 2 + 32  # version, random
        at += 1 + hello[at]  # session id
        at += 2 + int.from_bytes(hello[at : at + 2])  # cipher suites
        at += 1 + hello[at]  # compression methods
        at += 2  # the length of the extensions
        while at + 4 <= len(hello):
            kind, size = int.from_bytes(hello[at : at + 2]), int.from_bytes(hello[at + 2 : at + 4])
            at += 4
            if kind == _SERVER_NAME:
                # A list, in which only one entry of one type was ever defined.
                if hello[at + 2] != _HOST_NAME:
                    return ""
                length = int.from_bytes(hello[at + 3 : at + 5])
                return hello[at + 5 : at + 5 + length].decode("ascii").rstrip(".").lower()
            at += size
    except (IndexError, UnicodeDecodeError):
        return ""
    return ""
