import csv
import json

import pytest

from ldc.pruning.depth import BlockScores, load_scores, read_order, save_scores

SCORES = BlockScores("perplexity", (3.5, 1.25, 3.5, 0.1), 1.0, "0123456789abcdef", {"batch_size": 10})
ROWS = [["3.5", "4.0"], ["1.25", "3.0"], ["3.5", "2.0"], ["0.1", "1.0"]]
OTHERS = BlockScores("magnitude", (4.0, 3.0, 2.0, 1.0), settings={"norm_power": 1})


def test_the_order_is_ascending_and_of_equal_scores_the_lower_index_comes_first():
    assert SCORES.order() == (3, 1, 0, 2)


def test_scores_come_back_from_their_file_as_they_were(tmp_path):
    SCORES.save(tmp_path / "own.json")
    assert BlockScores.load(tmp_path / "own.json") == SCORES


def test_several_criteria_come_back_from_one_folder(tmp_path):
    save_scores(tmp_path, [SCORES, OTHERS])
    assert load_scores(tmp_path) == {"perplexity": SCORES, "magnitude": OTHERS}
    assert BlockScores.load(tmp_path, "magnitude") == OTHERS


def test_a_file_of_several_criteria_must_be_asked_for_one_that_it_holds(tmp_path):
    save_scores(tmp_path, [SCORES, OTHERS])
    for criterion in (None, "taylor"):
        with pytest.raises(ValueError, match=rf"\(perplexity, magnitude\), not {criterion!r}"):
            BlockScores.load(tmp_path, criterion)


def test_the_table_has_a_row_a_block_and_a_column_a_criterion(tmp_path):
    save_scores(tmp_path, [SCORES, OTHERS])
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows == [["block", "perplexity", "magnitude"], *[[str(i), *row] for i, row in enumerate(ROWS)]]


def test_the_official_scripts_files_are_written_as_they_write_them(tmp_path):
    save_scores(tmp_path, [OTHERS])
    assert (tmp_path / "magnitude" / "block_order.csv").read_text() == "3,2,1,0\n"
    rows = [f"model.layers.{place},{score}" for place, score in enumerate(OTHERS.scores)]
    written = (tmp_path / "magnitude" / "block_score_all.csv").read_text()
    assert written.splitlines() == ["block_name,block_score", *rows]
    assert read_order(tmp_path / "magnitude" / "block_order.csv") == OTHERS.order()


def test_a_published_order_is_read_and_another_file_is_not(tmp_path):
    (tmp_path / "block_order.csv").write_text("block_name,block_score\nmodel.layers.0,92.7\n")
    with pytest.raises(ValueError, match="must be one line of block indices with commas between, not 'block_name"):
        read_order(tmp_path / "block_order.csv")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(bad):
    with pytest.raises(ValueError, match=f"taylor score of block 1 must be finite, not {bad}"):
        BlockScores("taylor", (1.0, bad))


def test_no_scores_are_refused():
    with pytest.raises(ValueError, match="taylor scores must be at least one, not none"):
        BlockScores("taylor", ())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "must be block scores in JSON, but reading it failed"),
        (json.dumps({"schema": 9}), "must be 1, not 9"),
        (json.dumps({"schema": 1, "criteria": {"taylor": {"values": [1]}}}), "the fields of BlockScores, not values"),
    ],
)
def test_a_file_that_holds_no_scores_is_refused(tmp_path, content, sentence):
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(ValueError, match=sentence):
        load_scores(tmp_path)


def test_a_folder_without_scores_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a folder with scores.json, but there is no .*scores.json"):
        load_scores(tmp_path)
