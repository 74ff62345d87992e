import math

import pytest
from matplotlib.figure import Figure

from ldc.evaluation.language.perplexity_plot import save_perplexities

PARENT = {"model": "parent", "kind": "parent", "params": 1000, "MB": 4.0, "reduction": 0.0, "ppl a": 10.0}


def student(name, value, params=800, kind="depth", **changes):
    reduction = 1 - params / 1000
    return {"model": name, "kind": kind, "params": params, "MB": 3.2, "reduction": reduction, "ppl a": value, **changes}


ROWS = [
    PARENT,
    student("Taylor, 6", 1e7),
    student("FLAP, 6", 31.0, 799, "width"),
    student("PPL, 6", 20.0),
    student("PPL, 10", 40.0, 600),
]


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """`drawn(rows, columns)`: the figure that is saved, drawn once."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))

    def draw(rows, columns=("ppl a",)):
        save_perplexities(rows, columns, tmp_path / "plots" / "perplexity.png")
        assert (tmp_path / "plots" / "perplexity.png").is_file()
        figures[-1].canvas.draw()  # places are those of the screen again
        return figures[-1]

    return draw


def names(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def figures_of(axes):
    return [text.get_text() for text in axes.texts]


def test_a_panel_has_the_models_of_about_one_size_best_first_by_name(drawn):
    first, second = drawn(ROWS).axes
    assert names(first) == ["PPL, 6", "FLAP, 6", "Taylor, 6"]
    assert names(second) == ["PPL, 10"]
    assert first.get_title(loc="left") == "0.0M parameters, 20.0% gone, 3.2 MB"


def test_a_model_far_beyond_the_others_is_an_arrow_with_its_figure_and_does_not_squeeze_the_axis(drawn):
    figure = drawn(ROWS)
    axes = figure.axes[0]
    assert axes.get_xlim()[1] == 50 * 20.0
    assert [line.get_marker() for line in axes.lines if line.get_marker() != "None"] == ["o", "s", ">"]
    assert figures_of(axes) == ["20.0", "31.0", "1.0e+07"]
    assert "beyond the axis, more than 50 times the best student's" in [t.get_text() for t in figure.legends[0].texts]


def test_where_all_are_near_nothing_is_beyond(drawn):
    figure = drawn([row for row in ROWS if row["model"] != "Taylor, 6"])
    assert [text.get_text() for text in figure.legends[0].texts] == ["parent", "depth", "width"]


@pytest.mark.parametrize("lost", [math.inf, math.nan])
def test_a_perplexity_that_is_no_number_is_beyond_the_axis(drawn, lost):
    axes = drawn([PARENT, student("lost", lost), student("PPL, 6", 20.0)]).axes[0]
    assert names(axes) == ["PPL, 6", "lost"]
    assert figures_of(axes) == ["20.0", str(lost)]


def test_an_evaluation_in_which_every_model_is_lost_is_drawn_all_the_same(drawn):
    assert figures_of(drawn([{**PARENT, "ppl a": math.nan}, student("lost", math.inf)]).axes[0]) == ["inf"]


def test_labels_lie_inside_their_panel_and_on_no_other(drawn):
    rows = [
        PARENT,
        *(student(f"method {i}", 20.0 * 2**i) for i in range(5)),
        *(student(f"m {i}", 1e9) for i in range(3)),
    ]
    axes = drawn(rows).axes[0]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert all(axes.get_window_extent().contains(*corner) for box in boxes for corner in box.corners())
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])


def test_megabytes_stand_beside_the_names_where_they_differ_in_a_panel(drawn):
    axes = drawn([PARENT, student("pruned", 20.0), student("4 bits", 25.0, MB=1.1)]).axes[0]
    assert names(axes) == ["pruned (3.2 MB)", "4 bits (1.1 MB)"]


def test_every_text_has_a_column_with_the_parents_level(drawn):
    left, right = drawn([{**row, "ppl b": 3.0} for row in ROWS[:2]], ("ppl a", "ppl b")).axes
    assert (left.get_xlabel(), right.get_xlabel()) == ("ppl a (parent 10.0)", "ppl b (parent 3.0)")
    assert names(right) == [""]
    assert right.lines[0].get_xdata()[0] == 3.0


def test_a_parent_alone_has_a_panel(drawn):
    assert names(drawn([PARENT]).axes[0]) == ["parent"]


def test_rows_without_perplexity_are_refused(tmp_path):
    with pytest.raises(ValueError, match="rows must have a perplexity"):
        save_perplexities(ROWS, ["ppl b"], tmp_path / "none.png")
