"""The name that a client asks for, from the bytes of real ClientHellos."""

import ssl
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.proxy.hello import server_name


def hello(name: str | None, *, tls12: bool = False) -> bytes:
    """What OpenSSL says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def in_records(message: bytes, cuts: list[int]) -> bytes:
    """A handshake message in several records."""
    places = sorted({0, len(message), *cuts})
    return b"".join(b"\x16\x03\x01%b%b" % ((b - a).to_bytes(2), message[a:b]) for a, b in pairwise(places))


@pytest.mark.parametrize("tls12", [False, True])
@pytest.mark.parametrize(
    ("asked", "named"),
    [("a.example.com", "a.example.com"), ("LLM.Example.COM", "llm.example.com"), ("x" * 63 + ".y", "x" * 63 + ".y")],
)
def test_the_name_is_that_which_openssl_asks_for(asked: str, named: str, tls12: bool) -> None:
    assert server_name(hello(asked, tls12=tls12)) == named


def test_a_client_that_names_nobody_has_an_empty_name() -> None:
    assert server_name(hello(None)) == ""
    assert server_name(hello("127.0.0.1")) == ""  # addresses are no names (RFC 6066 §3)


@given(st.integers(0, 5000))
def test_a_part_of_it_asks_for_more_and_never_for_less_than_it_has(cut: int) -> None:
    whole = hello("a.example.com")
    part = whole[:cut]
    found = server_name(part)
    if cut >= len(whole):
        assert found == "a.example.com"
    else:
        assert isinstance(found, int)
        assert len(part) < found <= len(whole)


@given(st.lists(st.integers(1, 500), max_size=6))
def test_records_may_cut_it_anywhere(cuts: list[int]) -> None:
    assert server_name(in_records(hello("a.example.com")[5:], cuts)) == "a.example.com"


def test_one_in_many_small_records_is_not_read() -> None:
    message = hello("a.example.com")[5:]
    assert server_name(in_records(message, list(range(len(message))))) == ""


@given(st.binary(max_size=200), st.booleans())
def test_garbage_names_nobody_or_is_waited_for(data: bytes, as_record: bool) -> None:
    if as_record:
        data = b"\x16\x03\x01%b%b" % (len(data).to_bytes(2), data)
    found = server_name(data)
    assert isinstance(found, str) or len(data) < found <= 5 + 65535 + 5


@given(st.data())
def test_a_hello_with_a_byte_changed_breaks_nothing(data: st.DataObject) -> None:
    whole = bytearray(hello("a.example.com"))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(server_name(bytes(whole)), str | int)
