import pytest
from PIL import Image

from ldc.evaluation.cells import EvaluationSet


def test_a_set_holds_every_record_in_order(real, records):
    assert [cell.caption for cell in real.cells] == [record["caption"] for record in records]
    assert real.images.shape == (36, 3, 64, 64)


def test_the_chosen_cells_cover_training_and_held_out_cells(real):
    splits = [real.cells[i].split for i in real.choose(16)]
    assert 1 <= sum(split != "train" for split in splits) <= 4
    assert splits.count("train") >= 12


def test_the_choice_is_always_the_same(real, records):
    assert real.choose(16) == EvaluationSet.from_records(records).choose(16)


def test_cells_repeat_only_beyond_their_number(real):
    assert len(set(real.choose(30))) == 30
    assert set(real.choose(200)) == set(range(36))


def test_the_fingerprint_tells_sets_apart(real, records):
    assert real.fingerprint == EvaluationSet.from_records(records).fingerprint
    assert real.fingerprint != EvaluationSet.from_records(records[1:]).fingerprint


def test_captions_alone_make_a_set():
    record = {"caption": "a cat", "image": Image.new("RGB", (8, 8))}
    cell = EvaluationSet.from_records([record]).cells[0]
    assert (cell.concept, cell.style, cell.split) == ("a cat", "", "train")


def test_a_path_is_an_image(tmp_path):
    Image.new("RGB", (4, 6), "red").save(tmp_path / "red.png")
    images = EvaluationSet.from_records([{"caption": "red", "image": tmp_path / "red.png"}]).images
    assert images.shape == (1, 3, 6, 4)
    assert images[0, :, 0, 0].tolist() == [255, 0, 0]


def test_images_of_several_sizes_are_refused():
    records = [{"caption": "a", "image": Image.new("RGB", (side, side))} for side in (8, 16)]
    with pytest.raises(ValueError, match="images must be of one size"):
        EvaluationSet.from_records(records)


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="records must hold at least one image"):
        EvaluationSet.from_records([])
