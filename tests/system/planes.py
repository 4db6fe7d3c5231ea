"""The two data planes, for tests that hold for both: `@pytest.fixture(scope="module", params=PLANES)`."""

PLANES = ("native", "envoy")


def flags(plane: str) -> tuple[str, ...]:
    return () if plane == "native" else ("--data-plane", plane)
