"""SVG → PNG, by resvg (extra `plot`). It is imported here and nowhere else."""

from collections.abc import Callable

from headgate.cli.staged import Unusable

_ZOOM = 2  # pixels for one of the SVG's: text is read on screens that have them
_FAMILY = "DejaVu Sans, Helvetica, Arial, sans-serif"  # what plots ask for
_PROBE = (
    f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" font-family="{_FAMILY}"><text y="9">%s</text></svg>'
)


def renderer() -> Callable[[str], bytes]:
    """What makes a PNG of an SVG. Raises Unusable where it can't, before anybody has waited for what is to be drawn."""
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        raise Unusable(
            "--plot: a PNG takes resvg-py: pip install -e '.[plot]' in Headgate's directory, or write a name that "
            "ends with .svg or .html"
        ) from None

    def render(svg: str) -> bytes:
        return bytes(svg_to_bytes(svg_string=svg, zoom=_ZOOM))

    if render(_PROBE % "Hi") == render(_PROBE % ""):
        raise Unusable(
            "--plot: a PNG takes an installed font (fonts-dejavu-core has some), or write a name that ends with .svg "
            "or .html"
        )
    return render
