import pytest
from matplotlib.figure import Figure

from ldc.evaluation.language.speed_plot import save_speeds

LONG = "/somewhere/outputs/shortened_llama_compare/run/perplexity_6"


def speed(name, rate, batch_size=1, kind="depth", params=80_000_000, **changes):
    told = {"model": name, "kind": kind, "params": params, "batch_size": batch_size, "new_tokens": 4}
    return {**told, "tokens_per_second": rate, **changes}


SPEEDS = [
    speed(LONG, 12.0),
    speed("parent", 9.0, kind="parent", params=100_000_000),
    speed(LONG, 40.0, 2),
    speed("parent", None, 2, kind="parent", params=100_000_000, note="out of memory"),
]


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """`drawn(speeds)`: the figure that is saved."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))

    def draw(speeds):
        save_speeds(speeds, tmp_path / "speed.png")
        figures[-1].canvas.draw()  # places are those of the screen again
        return figures[-1]

    return draw


def test_speed_is_drawn_a_panel_a_batch_the_models_by_name_and_size(drawn):
    one, two = drawn(SPEEDS).axes
    assert (one.get_title(), two.get_title()) == ("M 1, L 4", "M 2, L 4")
    assert [label.get_text() for label in one.get_yticklabels()] == ["parent (100.0M)", f"{LONG} (80.0M)"]
    assert [text.get_text() for text in one.texts] == ["9.0", "12.0"]
    assert [text.get_text() for text in two.texts] == ["40.0"]


def test_names_and_figures_stay_in_the_picture_and_out_of_the_panels_frame(drawn):
    figure = drawn(SPEEDS)
    for axes in figure.axes:
        inside = axes.get_window_extent()
        assert all(inside.contains(*corner) for text in axes.texts for corner in text.get_window_extent().corners())
        names = [label.get_window_extent() for label in axes.get_yticklabels() if label.get_text()]
        assert all(name.x1 <= inside.x0 and name.x0 >= 0 for name in names)


def test_the_parents_speed_is_a_line_where_it_was_timed(drawn):
    one, two = drawn(SPEEDS).axes
    assert [line.get_linestyle() for line in one.lines].count(":") == 1
    assert [line.get_linestyle() for line in two.lines].count(":") == 0


def test_speeds_without_a_figure_are_refused(tmp_path):
    with pytest.raises(ValueError, match="speeds must have tokens_per_second"):
        save_speeds(SPEEDS[3:], tmp_path / "none.png")
