"""`--plot FILE`: what is drawn goes there."""

from collections.abc import Callable, Sequence
from pathlib import Path

from headgate.cli.png import renderer
from headgate.cli.staged import Unusable
from headgate.trial.plot import Band, Sizes, page, picture

Bands = Sequence[Band | Sizes]


def plotter(name: str | None) -> Callable[[Bands], None] | None:
    """What draws into that file, None without one. Raises Unusable, now or when it can't be written."""
    if name is None:
        return None
    path = Path(name)
    if path.suffix.lower() not in _DRAWN:
        raise Unusable(f"--plot {name}: write a name that ends with .html, .svg or .png")
    draw = _DRAWN[path.suffix.lower()]()

    def write(bands: Bands) -> None:
        try:
            path.write_bytes(draw(bands))
        except OSError as error:
            raise Unusable(f"{path}: {error.strerror or error}") from None

    return write


def _as_png() -> Callable[[Bands], bytes]:
    render = renderer()
    return lambda bands: render(picture(bands))


_DRAWN: dict[str, Callable[[], Callable[[Bands], bytes]]] = {
    ".html": lambda: lambda bands: page(bands).encode(),
    ".svg": lambda: lambda bands: picture(bands).encode(),
    ".png": _as_png,
}
