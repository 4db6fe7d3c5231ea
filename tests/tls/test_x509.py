"""Certificates read without OpenSSL: what they say is what `cryptography` says they say."""

from datetime import UTC, datetime

import pytest
from authority import NOW, Authority
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from headgate.plan.x509 import Facts, read_pem

CA = Authority()
_labels = st.text("abcxyz0-9", min_size=1, max_size=8).map(lambda text: text.strip("-") or "a")
_names = st.lists(st.lists(_labels, min_size=2, max_size=4).map(".".join), min_size=1, max_size=4, unique=True)
_times = st.integers(-600_000_000, 250_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(_names, st.booleans(), _times, _times)
def test_names_and_times_are_those_that_were_signed(
    names: list[str], wild: bool, one: datetime, other: datetime
) -> None:
    written = [f"*.{name}" for name in names] if wild else names
    begins, ends = sorted((one, other))
    issued = CA.issue(*written, uris=("spiffe://x/y",), begins=begins, ends=ends)
    fingerprint = issued.certificate.fingerprint(hashes.SHA256()).hex()
    assert read_pem(issued.chain.encode()) == (Facts(tuple(written), begins, ends, fingerprint),)


def test_a_chain_is_read_in_its_order_whatever_stands_between() -> None:
    issued = CA.issue("A.Example.com")
    text = f"# naïve\n{issued.chain}{issued.key}subject=x\n{CA.pem}"
    first, second = read_pem(text.encode())
    assert first.names == ("a.example.com",)
    assert second.names == ()
    assert second.not_after == CA.certificate.not_valid_after_utc > NOW


@pytest.mark.parametrize(
    ("pem", "why"),
    [
        ("", None),
        ("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----", None),
        ("-----BEGIN CERTIFICATE-----\nMAA\n-----END CERTIFICATE-----", "certificate 1 is not base64"),
        ("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----", "certificate 1 is no certificate by X.509"),
        (CA.pem + "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----", "certificate 2 is no certificate by X.509"),
    ],
)
def test_what_is_no_certificate_is_told_by_its_number(pem: str, why: str | None) -> None:
    if why is None:
        assert read_pem(pem.encode()) == ()
    else:
        with pytest.raises(ValueError, match=f"^{why}$"):
            read_pem(pem.encode())


@given(st.data())
def test_a_broken_certificate_is_refused_or_read_and_nothing_else(data: st.DataObject) -> None:
    lines = CA.pem.splitlines()
    body = list("".join(lines[1:-1]))
    for at in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=6)):
        body[at] = data.draw(st.sampled_from("Az09+/"))
    cut = data.draw(st.integers(0, len(body)))
    pem = "\n".join([lines[0], "".join(body[:cut]), lines[-1]])
    try:
        found = read_pem(pem.encode())
    except ValueError as error:
        said = str(error)
        assert said.startswith("certificate 1 is")
    else:
        assert len(found) == 1
