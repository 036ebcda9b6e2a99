"""Charts: well-formed SVG, the points where they belong, equal input equal bytes, and shown where the script runs."""

import math
import xml.etree.ElementTree as ET

import pytest

from edgenet import plot
from edgenet.errors import InvalidOption

SVG = "{http://www.w3.org/2000/svg}"


def paths(chart):
    """Of the series: (points of each piece) from the drawing itself."""
    found = [p for p in ET.fromstring(chart.svg).iter(f"{SVG}path") if p.get("fill") == "none"]
    return [
        [[tuple(map(float, q.split())) for q in piece.split("L")] for piece in p.get("d")[1:-2].split("M")]
        for p in found
    ]


def test_a_higher_value_stands_higher_and_a_later_one_further_right():
    ((line,),) = paths(plot.lines({"a": [3.0, 1.0, 2.0]}))
    (x1, y1), (x2, y2), (x3, y3) = line
    assert x1 < x2 < x3 and y1 < y3 < y2  # SVG counts from the top


def test_pairs_stand_where_their_x_says():
    ((line,),) = paths(plot.lines({"a": [(0, 0.0), (10, 1.0), (20, 0.0)]}))
    assert line[1][0] == pytest.approx((line[0][0] + line[2][0]) / 2, abs=0.11)


def test_all_lies_inside_the_frame_for_numbers_large_and_small():
    for scale in (1e-9, 1.0, 1e12):
        for line in paths(plot.lines({"a": [scale, 3 * scale], "b": [-scale, 7 * scale]})):
            assert all(plot.LEFT <= x <= plot.WIDTH - plot.RIGHT for piece in line for x, _ in piece)
            assert all(plot.TOP <= y <= plot.HEIGHT - plot.BOTTOM for piece in line for _, y in piece)


def test_what_is_not_finite_leaves_a_gap():
    ((first, second),) = paths(plot.lines({"a": [1.0, 2.0, math.nan, 2.0, 3.0]}))
    assert (len(first), len(second)) == (2, 2)


@pytest.mark.parametrize("series", [{}, {"a": []}, {"a": [math.nan]}], ids=["none", "empty", "no number"])
def test_nothing_to_draw_is_an_error(series):
    with pytest.raises(InvalidOption, match="finite"):
        plot.lines(series)


def test_one_value_is_a_chart_and_equal_input_gives_equal_bytes():
    assert plot.lines({"a": [2.0]}).svg == plot.lines({"a": [2.0]}).svg


def test_texts_cannot_become_mark_up():
    chart = plot.lines({"<script>": [1.0], "b": [2.0]}, title="<b>&", x='"x"', y="<y>")
    assert not list(ET.fromstring(chart.svg).iter(f"{SVG}script")) and "&lt;b&gt;&amp;" in chart.svg


def test_shown_outside_the_playground_a_chart_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chart = plot.lines({"a": [1.0, 2.0]})
    chart.show("loss")
    assert (tmp_path / "loss.svg").read_text(encoding="utf-8") == chart.svg


def test_whoever_runs_a_script_may_show_charts_elsewhere():
    shown = []
    token = plot.DISPLAY.set(lambda *what: shown.append(what))
    try:
        chart = plot.lines({"a": [1.0]})
        chart.show("loss")
    finally:
        plot.DISPLAY.reset(token)
    assert shown == [("loss", chart.svg)]
