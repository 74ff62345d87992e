import pytest
from PIL import Image

from ldc.evaluation.curves import Point, save_curves


def test_curves_are_drawn_a_panel_a_figure(tmp_path):
    points = [Point(1, 0.5, 0.4, 0.6), Point(8, 0.2, 0.1, 0.3), Point(2, 0.3)]
    panels = {"KID": {"LCM": points, "DDIM": points[:1], "none": []}}
    save_curves(panels, tmp_path / "one.png", "steps", log_x=True)
    save_curves({**panels, "fidelity": {"LCM": points}}, tmp_path / "new" / "two.png", "steps")
    one, two = Image.open(tmp_path / "one.png"), Image.open(tmp_path / "new" / "two.png")
    assert two.width == 2 * one.width
    assert one.convert("L").getextrema()[0] < 50


def test_a_plot_without_points_is_refused(tmp_path):
    with pytest.raises(ValueError, match="curves over guidance must have at least one point, not none"):
        save_curves({"KID": {"teacher": []}}, tmp_path / "plot.png", "guidance")
