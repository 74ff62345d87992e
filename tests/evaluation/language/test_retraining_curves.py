import pytest
from PIL import Image

from ldc.evaluation.language.retraining_curves import at, read_curve, save_retraining_curves


@pytest.fixture
def curve(tmp_path):
    """`curve(name, *rows)`: a held_out.csv of rows (step, tokens, seconds, loss, perplexity)."""

    def write(name, *rows):
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join(["step,tokens,seconds,loss,perplexity", *(",".join(map(str, row)) for row in rows)]))
        return path

    return write


ROWS = ((0, 0, 0.0, 3.0, 20.1), (10, 1000, 4.0, 2.0, 7.4))


def test_a_curve_is_read_as_numbers(curve):
    first, last = read_curve(curve("a", *ROWS))
    assert first["loss"] == 3.0
    assert last == {"step": 10, "tokens": 1000, "seconds": 4, "loss": 2, "perplexity": 7.4}


def test_seeds_of_one_method_are_drawn_in_one_picture(curve, tmp_path):
    files = {f"cpt_{seed}": curve(f"cpt_{seed}", *ROWS) for seed in range(2)} | {"lora_0": curve("lora_0", *ROWS)}
    groups = {"cpt_0": "CPT", "cpt_1": "CPT", "lora_0": "LoRA"}
    picture = save_retraining_curves(files, tmp_path / "pictures" / "curves.png", groups)
    assert Image.open(picture).width > 1000


def test_losses_between_rows_lie_on_the_line(curve):
    rows = read_curve(curve("a", *ROWS))
    assert at(rows, "tokens", 250) == pytest.approx(2.75)
    assert at(rows, "seconds", 4.0) == pytest.approx(2.0)


def test_what_lies_beyond_a_curve_is_not_made_up(curve):
    with pytest.raises(ValueError, match=r"seconds must be within the curve, 0 to 4, not 5\."):
        at(read_curve(curve("a", *ROWS)), "seconds", 5)


def test_a_curve_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"must be a held_out\.csv, but '.*none\.csv' does not exist\."):
        read_curve(tmp_path / "none.csv")


def test_an_empty_curve_is_refused(curve):
    with pytest.raises(ValueError, match="must have at least one row"):
        read_curve(curve("empty"))


def test_no_curve_is_refused(tmp_path):
    with pytest.raises(ValueError, match="curves must be of at least one retraining, not none"):
        save_retraining_curves({}, tmp_path / "c.png")
