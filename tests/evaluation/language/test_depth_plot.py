import pytest
from matplotlib.figure import Figure
from PIL import Image

from ldc.evaluation.language.depth_plot import save_depth_plot


def grey(path):
    """The picture's share of pixels in the shade of protected blocks."""
    counts = Image.open(path).convert("RGB").getcolors(1 << 24)
    shade = sum(count for count, colour in counts if len(set(colour)) == 1 and 215 < colour[0] < 240)
    return shade / sum(count for count, _ in counts)


def test_protected_blocks_are_shaded(tmp_path):
    scores = {"taylor": [3.0, 1.0, 2.0, 5.0]}
    save_depth_plot(scores, tmp_path / "none.png")
    save_depth_plot(scores, tmp_path / "half.png", protect_first=1, protect_last=1)
    assert grey(tmp_path / "half.png") > grey(tmp_path / "none.png") + 0.2


@pytest.mark.parametrize(("first", "last"), [(4, 2), (0, 1)])
def test_the_plot_says_whose_rule_the_shade_is(tmp_path, monkeypatch, first, last):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    save_depth_plot({"taylor": [3.0, 1.0, 2.0]}, tmp_path / "plot.png", protect_first=first, protect_last=last)
    rule = f"never removed by a pruner with protect_first={first} and protect_last={last}"
    assert drawn[0].axes[-1].get_xlabel() == f"block (shaded: {rule})"


def test_every_criterion_has_a_panel(tmp_path):
    one, two = tmp_path / "one.png", tmp_path / "plots" / "two.png"
    save_depth_plot({"taylor": [3.0, 1.0]}, one)
    save_depth_plot(
        {"taylor": [3.0, 1.0], "perplexity": [9000.0, 12.0]}, two, bases={"perplexity": 11.0}, title="Model"
    )
    heights = [Image.open(path).height for path in (one, two)]
    assert heights[1] - heights[0] == pytest.approx(2.4 * 130, abs=2)


@pytest.mark.parametrize("scores", [{}, {"taylor": []}, {"taylor": [1.0], "perplexity": [1.0, 2.0]}])
def test_scores_of_no_or_unlike_numbers_of_blocks_are_refused(scores, tmp_path):
    with pytest.raises(ValueError, match="scores must be of one number of blocks from 1 for every criterion"):
        save_depth_plot(scores, tmp_path / "plot.png")
