"""`--plot`: what is drawn is well-formed, stands where it should, and loads nothing."""

import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from test_bench_verb import bench

from headgate.cli.drawn import plotter
from headgate.cli.staged import Unusable
from headgate.trial.capacity import Capacity
from headgate.trial.plot import Band, Sizes, _scale, picture
from headgate.trial.report import Class, Moment, Report, Spread

SVG = "{http://www.w3.org/2000/svg}"
spreads = st.lists(st.floats(0, 1e4), min_size=4, max_size=4).map(lambda found: Spread(*sorted(found)))
shares = st.floats(0, 1)


@st.composite
def reports(draw: st.DrawFn) -> list[Report]:
    found = []
    for name in draw(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=9)):
        spread = draw(spreads)
        moments = tuple(Moment(at * 0.5, 3.0, draw(shares), at, 2, 0.5) for at in range(draw(st.integers(0, 5))))
        one = Report(name, 3, 9.0, spread, spread, draw(st.floats(0, 1e6)), draw(shares), 1.0, draw(shares), 0, 1.0)
        some = (Class(0, 1, 0, spread, spread, 1.0),) if draw(st.booleans()) else ()
        cost = draw(st.none() | st.floats(0, 100))
        found.append(replace(one, over_time=moments, priorities=some, fairness=draw(shares), cost=cost))
    return found


@given(reports(), st.booleans())
def test_all_of_it_is_well_formed_and_on_the_sheet(found, over_time):
    drawn = picture([Band("a < b", "& more", found)], over_time)
    assert drawn == picture([Band("a < b", "& more", found)], over_time)
    sheet = ElementTree.fromstring(drawn)
    wide, high = (float(sheet.get(name)) for name in ("width", "height"))
    circles = sheet.findall(f"{SVG}circle")
    assert len(circles) == len(found) * (1 + 3 + 3 + 1 + 2) + sum(one.cost is not None for one in found)
    for mark in (*circles, *sheet.findall(f"{SVG}text")):
        x, y = (float(mark.get(name) or mark.get(f"c{name}")) for name in ("x", "y"))
        assert 0 <= x <= wide
        assert 0 <= y <= high


_MEASURED = st.floats(0, 1e7).map(lambda value: round(value, 9))  # nothing is measured more finely


@given(_MEASURED, _MEASURED, st.booleans())
def test_values_have_their_places_in_order(one, other, logarithmic):
    low, high = sorted((one, other))
    place, ticks = _scale(high, low, logarithmic)
    assert 0 <= place(low) <= place(high) <= 1 + 1e-9
    assert 2 <= len(ticks) <= 11
    assert [place(tick) for tick, _ in ticks] == sorted(place(tick) for tick, _ in ticks)
    assert place(ticks[0][0]) == pytest.approx(0)
    assert place(ticks[-1][0]) == pytest.approx(1)


def test_a_page_loads_nothing_and_other_endings_are_refused(tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    words = ("chat", "--seconds", "2", "--policies", "random,default")
    done = bench(*words, "--plot", str(page), "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["chat"]
    text = page.read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert all(said in text for said in (">random<", ">default<", ">chat<"))
    assert "src=" not in text
    assert "href=" not in text
    for name, said in (
        (tmp_path / "a.jpg", "ends with .html, .svg or .png"),
        (tmp_path / "no" / "a.svg", "No such file"),
    ):
        done = bench(*words, "--plot", str(name))
        assert done.returncode == 1
        assert said in done.stderr


def test_a_picture_may_be_png(tmp_path: Path) -> None:
    drawn = tmp_path / "a.png"
    done = bench("chat", "--seconds", "1", "--policies", "default", "--plot", str(drawn), "-o", "json")
    if "a PNG takes an installed font" in done.stderr:  # so it is said, and nothing is drawn without words
        assert done.returncode == 1
        assert not drawn.exists()
        return
    assert (done.returncode, done.stderr) == (0, "")
    head = drawn.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(head[16:20], "big") == 2 * 1100


@pytest.mark.parametrize(
    ("library", "said"),
    [
        (
            "raise ImportError",
            "pip install -e '.[plot]' in Headgate's directory, or write a name that ends with .svg or .html",
        ),
        ("svg_to_bytes = lambda **_: b''", "a PNG takes an installed font"),
    ],
)
def test_where_a_png_can_not_be_made_it_is_said_before_anything_runs(tmp_path, monkeypatch, library, said):
    (tmp_path / "resvg_py.py").write_text(library)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "resvg_py", raising=False)
    with pytest.raises(Unusable, match=re.escape(said)):
        plotter(str(tmp_path / "a.png"))
    monkeypatch.delitem(sys.modules, "resvg_py", raising=False)


@given(st.lists(st.tuples(st.none() | st.floats(0.1, 1e4), st.none() | st.integers(1, 4096)), min_size=1, max_size=4))
def test_capacities_are_drawn_as_far_as_they_were_found(found):
    sizes = [Capacity(f"p{at}", rate, count, None, rate) for at, (rate, count) in enumerate(found)]
    sheet = ElementTree.fromstring(picture([Sizes("a", "b", sizes)]))
    dots = sum((rate is not None) * 2 + (count is not None) for rate, count in found)
    assert len(sheet.findall(f"{SVG}circle")) == len(found) + dots
    text = {mark.text for mark in sheet.findall(f"{SVG}text")}
    assert ("fewest endpoints" in text) == any(count is not None for _, count in found)
    for mark in sheet.findall(f"{SVG}text"):
        assert 0 <= float(mark.get("x")) <= float(sheet.get("width"))
