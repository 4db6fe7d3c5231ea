"""Texts with a meaning of their own: quantities."""

from fractions import Fraction

import pytest

from headgate.api.formats import amount


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        ("2", 2),
        ("+3", 3),
        ("-1", -1),
        ("500m", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        ("100n", Fraction(1, 10_000_000)),
        ("3k", 3000),
        ("1Ki", 1024),
        ("1.5Gi", 3 * 2**29),
        ("1e3", 1000),
        ("1E3", 1000),
        ("2E", 2 * 10**18),
        ("25e-1", Fraction(5, 2)),
        ("", None),
        ("1e", None),
        ("1 Gi", None),
        ("1KB", None),
        ("0x10", None),
        ("9" * 31, None),
    ],
)
def test_a_quantity_amounts_to_what_kubernetes_makes_of_it(quantity: str, expected: Fraction | None) -> None:
    assert amount(quantity) == expected
