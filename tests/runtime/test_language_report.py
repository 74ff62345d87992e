import pytest

from ldc.runtime import language_report
from ldc.runtime.language_report import compare_with_parent, with_speeds, write_samples

PARENT = {"params": 100, "blocks": 10}


def row(label, params, blocks):
    return {"model": label, "method": label, "params": params, "blocks": blocks}


def speed(label, rate, **changes):
    figures = {"tokens_per_second": rate, "prefill_tokens_per_second": 1.0, "decode_tokens_per_second": 2.0}
    return {"model": label, "batch_size": 2, "new_tokens": 4, **figures, **changes}


@pytest.mark.parametrize(
    ("params", "blocks", "kind"), [(80, 8, "depth"), (80, 10, "width"), (60, 8, "depth"), (100, 10, "same size")]
)
def test_the_kind_is_told_by_blocks_and_parameters(params, blocks, kind):
    found = compare_with_parent(row("a", params, blocks), PARENT, is_parent=False)
    assert found["kind"] == kind
    assert found["reduction"] == pytest.approx(1 - params / 100)


def test_the_parent_is_called_so():
    assert compare_with_parent(row("a", 100, 10), PARENT, is_parent=True)["kind"] == "parent"


def test_speeds_stand_beside_the_parents_at_the_same_batch_and_length():
    rows = [
        compare_with_parent(row("p", 100, 10), PARENT, is_parent=True),
        compare_with_parent(row("s", 80, 8), PARENT, is_parent=False),
    ]
    speeds = [speed("p", 10.0), speed("s", 12.0), speed("p", 20.0, batch_size=1), speed("s", 30.0, batch_size=1)]
    rows, speeds = with_speeds(rows, speeds)
    assert [found["times parent"] for found in speeds] == [1.0, 1.2, 1.0, 1.5]
    assert rows[1]["tokens/s M 2 L 4"] == 12.0
    assert rows[1]["prefill/s M 2 L 4"] == 1.0
    assert rows[1]["decode/s M 1 L 4"] == 2.0


def test_a_speed_that_did_not_fit_the_memory_is_no_figure():
    rows = [compare_with_parent(row("p", 100, 10), PARENT, is_parent=True)]
    rows, speeds = with_speeds(rows, [{"model": "p", "batch_size": 2, "new_tokens": 4, "note": "out of memory"}])
    assert "times parent" not in speeds[0]
    assert rows[0]["tokens/s M 2 L 4"] is None


def test_samples_stand_below_their_prompt(tmp_path):
    write_samples({"p": ["b\nc", "e"], "s": ["x", "y"]}, ["a", "d"], tmp_path / "samples.txt")
    assert (tmp_path / "samples.txt").read_text() == "a\n[p] b c\n[s] x\n\nd\n[p] e\n[s] y\n"


def test_the_printed_table_and_the_picture_have_the_megabytes_that_quantising_gains(tmp_path, caplog, monkeypatch):
    pictured = []
    monkeypatch.setattr(language_report, "save_table", lambda rows, *_: pictured.extend(rows))
    quality = {"ppl a": 10.0}
    rows = [
        compare_with_parent({**row("p", 100, 10), "MB": 453.1, **quality}, PARENT, is_parent=True),
        compare_with_parent({**row("4 bits", 100, 10), "MB": 101.9, **quality}, PARENT, is_parent=False),
    ]
    with caplog.at_level("INFO"):
        language_report.write_report(rows, [], {}, [], tmp_path)
    assert [shown["MB on disk"] for shown in pictured] == ["453.1", "101.9"]
    assert "MB on disk" in caplog.text
    assert "101.9" in caplog.text
