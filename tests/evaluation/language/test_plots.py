import pytest
from PIL import Image

from ldc.evaluation.language.plots import save_perplexity_over_size, save_speed_over_size

ROWS = [
    {"model": "parent", "method": "parent", "kind": "parent", "params": 100, "ppl a": 10.0},
    {"model": "PPL, 6", "method": "PPL", "kind": "depth", "params": 80, "ppl a": 20.0},
    {"model": "PPL, 10", "method": "PPL", "kind": "depth", "params": 60, "ppl a": 2000.0},
    {"model": "FLAP, 6", "method": "FLAP", "kind": "width", "params": 80, "ppl a": 30.0},
    {"model": "no text", "method": "none", "kind": "same size", "params": 100},
]
SPEEDS = [
    {"model": "parent", "kind": "parent", "params": 100, "batch_size": 1, "new_tokens": 4, "tokens_per_second": 9.0},
    {"model": "PPL, 6", "kind": "same size", "params": 80, "batch_size": 2, "new_tokens": 4, "tokens_per_second": 12.0},
    {"model": "FLAP, 6", "kind": "width", "params": 80, "batch_size": 2, "new_tokens": 8, "note": "out of memory"},
]


def test_perplexity_is_drawn_over_size_a_panel_a_text(tmp_path):
    save_perplexity_over_size(ROWS, ["ppl a"], tmp_path / "one.png")
    save_perplexity_over_size([{**row, "ppl b": 3.0} for row in ROWS], ["ppl a", "ppl b"], tmp_path / "two.png")
    one, two = (Image.open(tmp_path / name).size for name in ("one.png", "two.png"))
    assert two[0] == 2 * one[0]


def test_rows_without_perplexity_are_refused(tmp_path):
    with pytest.raises(ValueError, match="rows must have a perplexity"):
        save_perplexity_over_size(ROWS, ["ppl b"], tmp_path / "none.png")


def test_speed_is_drawn_a_panel_a_batch_where_there_is_a_figure(tmp_path):
    save_speed_over_size(SPEEDS, tmp_path / "two.png")
    save_speed_over_size(SPEEDS[:1], tmp_path / "one.png")
    one, two = (Image.open(tmp_path / name).size for name in ("one.png", "two.png"))
    assert two == (2 * one[0], one[1])


def test_speeds_without_a_figure_are_refused(tmp_path):
    with pytest.raises(ValueError, match="speeds must have tokens_per_second"):
        save_speed_over_size(SPEEDS[2:], tmp_path / "none.png")
