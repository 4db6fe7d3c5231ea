"""`--plot`: what is drawn is well-formed, stands where it should, and loads nothing."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from test_bench_verb import bench

from headgate.trial.plot import Band, _scale, picture
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
        found.append(replace(one, over_time=moments, priorities=some, fairness=draw(shares)))
    return found


@given(reports(), st.booleans())
def test_all_of_it_is_well_formed_and_on_the_sheet(found, over_time):
    drawn = picture([Band("a < b", "& more", found)], over_time)
    assert drawn == picture([Band("a < b", "& more", found)], over_time)
    sheet = ElementTree.fromstring(drawn)
    wide, high = (float(sheet.get(name)) for name in ("width", "height"))
    circles = sheet.findall(f"{SVG}circle")
    assert len(circles) == len(found) * (1 + 3 + 3 + 1 + 2)
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
    for name, said in ((tmp_path / "a.png", "ends with .html or .svg"), (tmp_path / "no" / "a.svg", "No such file")):
        done = bench(*words, "--plot", str(name))
        assert done.returncode == 1
        assert said in done.stderr
