import json

import pytest

from ldc.evaluate import main


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluated")


def arguments(cache, out, *more):
    return ["student=emoji_ldm", "num_images=8", "steps=1", f"paths.cache={cache}", f"out={out}", *more]


@pytest.mark.integration
def test_figures_are_stamped_and_compared_only_with_figures_of_the_same_stamp(command, refused, cache, written):
    summary = command(main, *arguments(cache, written)).summary
    assert {"kid", "frechet64", "fidelity_top1", "params", "macs", "latency"} <= summary["metrics"].keys()
    assert summary["stamp"]["num_images"] == 8
    assert {file.name for file in written.iterdir()} == {"metrics.json", "samples.png"}

    metrics = written / "metrics.json"
    said = command(main, *arguments(cache, written / "again", f"compare={metrics}"))
    assert said.summary["difference"]["kid"] == 0
    assert said.summary["difference_is"] == "this minus that, which is emoji_ldm"
    assert "| figure | this: emoji_ldm | that: emoji_ldm | this minus that |" in said.err
    assert f"Figures: {written / 'again'}" in said.err

    unlike = refused(main, *arguments(cache, written / "unlike", f"compare={metrics}", "seed=1"))
    assert "seed of the stamps must be equal for figures to be compared, not 0 and 1." in unlike
    assert not (written / "unlike").exists()


@pytest.mark.integration
def test_several_guidances_and_steps_are_a_table_a_sheet_and_plots(command, cache, tmp_path):
    swept = command(main, *arguments(cache, tmp_path, "guidance=[1,3]", "steps=[1,2]")).summary
    settings = [(row["steps"], row["guidance_scale"], row["unet_passes"]) for row in swept["table"]]
    assert settings == [(1, 1.0, 1), (1, 3.0, 2), (2, 1.0, 2), (2, 3.0, 4)]
    assert {"kid", "fidelity_top1_train", "fidelity_top1_cell"} <= swept["table"][0].keys()
    assert json.loads((tmp_path / "table.json").read_text())["table"] == swept["table"]
    assert {file.name for file in tmp_path.iterdir()} == {
        *("table.json", "table.md", "samples.png", "guidance_sweep.png", "steps_sweep.png")
    }


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("num_images=3", "num_images must be a whole number from 4, not 3."),
        ("num_images=null", "num_images must be a whole number from 4, not None."),
        ("compare=none.json", "compare must be a metrics.json of ldc.evaluate, not 'none.json'."),
        ("student=./none", "student must be an existing folder or a hub id"),
        ("steps=0", "steps must be a whole number from 1, not 0."),
        ("steps=[4,0]", "steps must be a whole number from 1, not 0."),
        ("guidance=[]", "guidance must be a value or a list of at least one, not []."),
        ("guidance=[3,high]", "guidance must be a number, not 'high'."),
        ("guidance=[1,-1]", "guidance_scale must be at least 0, not -1."),
        ("guidance=[3,null]", "steps and guidance must be different ones, not [25] and [3.0, 3.0]."),
    ],
)
def test_wrong_input_is_refused(refused, argument, sentence):
    assert sentence in refused(main, "student=emoji_ldm", argument)


def test_a_sweep_is_not_compared_with_one_measurement(refused, tmp_path):
    (tmp_path / "other.json").write_text(json.dumps({"metrics": {}, "stamp": {}}))
    said = refused(main, f"compare={tmp_path / 'other.json'}", "guidance=[1,2]")
    assert "compare must come with one setting of steps and guidance, not 2." in said


@pytest.mark.parametrize("content", [{"metrics": {}}, [1], {"metrics": [], "stamp": {}}])
def test_a_file_without_a_stamp_is_not_compared_with(refused, content, tmp_path):
    (tmp_path / "other.json").write_text(json.dumps(content))
    assert "compare must be a metrics.json with metrics and stamp" in refused(
        main, f"compare={tmp_path / 'other.json'}"
    )


def test_a_student_that_is_not_there_is_what_is_said_first(refused, tmp_path):
    said = refused(main, f"student={tmp_path / 'nowhere'}", "timed=false")
    assert said.startswith("student must be an existing folder or a hub id")


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("timed=false", "timed must be left out with emoji_ldm, which is no language model, not False."),
        ("quality.windows=3", "quality must be left out with emoji_ldm, which is no language model."),
        ("protocol=paper", "protocol must be left out with emoji_ldm, which is no language model."),
        ("data=kjv", "data must be images for this, such as emoji64_mini, folder or shards, not kjv."),
    ],
)
def test_settings_of_texts_are_refused_for_images(refused, argument, sentence):
    assert refused(main, argument) == sentence
