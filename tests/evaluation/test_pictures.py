import numpy as np
import pytest
import torch
from PIL import Image

from ldc.evaluation.pictures import comparison, grid, pictures
from ldc.evaluation.tables import markdown_table, save_table, save_trade_off

ROWS = [
    {"model": "teacher", "params": 5_500_000, "latency": 1.25, "kid": 0.0123456},
    {"model": "few-step | 2", "latency": 0.1, "kid": 0.02, "steps": 2},
]


def test_a_picture_has_the_pixels_of_its_tensor():
    image = torch.arange(3 * 4 * 5, dtype=torch.uint8).view(1, 3, 4, 5)
    picture = pictures(image)[0]
    assert picture.size == (5, 4)
    assert picture.getpixel((1, 2)) == tuple(image[0, :, 2, 1].tolist())


def test_a_grid_shows_the_images_row_by_row():
    images = [Image.new("RGB", (10, 10), colour) for colour in ("red", "lime", "blue")]
    sheet = grid(images, columns=2)
    assert sheet.size == (2 * 14 + 4, 2 * 14 + 4)
    centres = [(9, 9), (23, 9), (9, 23)]
    assert [sheet.getpixel(centre) for centre in centres] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def test_a_comparison_has_a_row_a_setting_and_a_column_a_prompt():
    rows = [
        ("teacher, 25 steps", [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]),
        ("2 steps", torch.zeros(2, 3, 64, 64, dtype=torch.uint8)),
    ]
    sheet = comparison(rows, ["red apple in noto style", "a"], scale=2)
    right, bottom = sheet.size
    assert sheet.getpixel((right - 70, bottom - 200)) == (0, 0, 255)
    assert sheet.getpixel((right - 200, bottom - 200)) == (255, 0, 0)
    assert sheet.getpixel((right - 70, bottom - 70)) == (0, 0, 0)


def test_a_long_caption_stays_within_four_lines():
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    short = comparison([("a", image)], ["one two three four five six " * 2], scale=1)
    long = comparison([("a", image)], ["one two three four five six " * 20], scale=1)
    assert long.height <= short.height


def test_a_row_that_lacks_an_image_is_refused():
    with pytest.raises(ValueError, match=r"row 'a' must have 2 images, not 1."):
        comparison([("a", [Image.new("RGB", (8, 8))])], ["x", "y"])


def test_a_table_leaves_missing_values_blank():
    assert markdown_table(ROWS).splitlines() == [
        "| model | params | latency | kid | steps |",
        "| --- | --- | --- | --- | --- |",
        "| teacher | 5,500,000 | 1.25 | 0.01235 |  |",
        "| few-step \\| 2 |  | 0.1 | 0.02 | 2 |",
    ]


def test_a_table_answers_with_yes_or_no():
    assert markdown_table([{"met": True}, {"met": False}]).splitlines()[2:] == ["| yes |", "| no |"]


def test_a_note_stands_below_the_table(tmp_path):
    save_table(ROWS, tmp_path / "plain.png")
    save_table(ROWS, tmp_path / "noted.png", "a note " * 40)
    plain, noted = (Image.open(tmp_path / f"{name}.png") for name in ("plain", "noted"))
    assert noted.height > plain.height
    assert noted.width > plain.width
    below = np.asarray(noted.convert("L"))[plain.height - 10 :]
    dark = np.flatnonzero(below.min(axis=0) < 100)
    assert 0 < dark.min() < 30  # it begins below the table and is not cut
    assert plain.width < dark.max() < noted.width - 5


def test_tables_and_plots_are_written_as_pictures(tmp_path):
    save_table(ROWS, tmp_path / "table.png")
    save_trade_off(ROWS, tmp_path / "trade_off.png")
    for name in ("table", "trade_off"):
        picture = Image.open(tmp_path / f"{name}.png").convert("L")
        assert picture.getextrema() == (0, 255)


def test_a_plot_without_points_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"rows must have latency and kid to be drawn, but none does."):
        save_trade_off([{"model": "a"}], tmp_path / "plot.png")
