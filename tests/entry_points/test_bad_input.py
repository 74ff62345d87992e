"""What a user may get wrong in `ldc.train`, `ldc.prune` and `ldc.prepare`: one sentence, and nothing is written."""

import json
import shutil

import pytest

from ldc import prepare, prune, train
from ldc.runtime.paths import ASSETS

EMOJI_LDM = ASSETS / "emoji_ldm"


@pytest.fixture
def refused_train(refused, tmp_path):
    def run(*arguments):
        message = refused(train.main, "+experiment=lcm_bksdm", f"paths.outputs={tmp_path / 'outputs'}", *arguments)
        assert not (tmp_path / "outputs").exists()
        return message

    return run


def teacher_copy(folder, part=None, **changes):
    """A copy of the embedded teacher with another config of one part, and no weights that fit it."""
    shutil.copytree(EMOJI_LDM, folder)
    if part is not None:
        change_config(folder, part, **changes)
    return folder


def change_config(folder, part, **changes):
    config = json.loads((folder / part / "config.json").read_text())
    (folder / part / "config.json").write_text(json.dumps(config | changes))


def test_an_unknown_variant_is_refused(refused):
    assert "variant must be" in refused(prune.main, "pruner.variant=huge", "dry_run=true")


def test_a_pattern_that_matches_nothing_is_refused(refused, refused_train, tmp_path):
    pattern = f"{tmp_path}/{{00..03}}.tar"
    for said in (
        refused(prepare.main, "data=shards", f"data.path={pattern}"),
        refused_train("data=shards", f"data.path={pattern}"),
    ):
        assert "{00..03}.tar" in said
        assert "matches nothing" in said


def test_a_teacher_folder_without_weights_is_refused(refused_train, tmp_path):
    folder = teacher_copy(tmp_path / "teacher")
    for path in (folder / "unet").glob("*.safetensors"):
        path.unlink()
    assert refused_train(f"teacher={folder}") == (
        f"teacher must have weights, but {folder / 'unet'} has no .safetensors or .bin file."
    )


def test_a_topology_that_the_variant_does_not_fit_is_refused(refused_train, tmp_path):
    blocks = {
        "block_out_channels": [32, 64],
        "attention_head_dim": [2, 4],
        "down_block_types": ["AttnDownBlock2D", "AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D"],
        "layers_per_block": 2,
    }
    said = refused_train(f"teacher={teacher_copy(tmp_path / 'teacher', 'unet', **blocks)}", "pruner=bksdm_tiny")
    assert "not 'tiny'" in said


@pytest.mark.parametrize("arguments", [(), ("dry_run=true",), ("teacher.weights=random",)])
def test_a_teacher_with_added_conditions_is_refused(refused_train, arguments):
    said = refused_train("teacher=sdxl_base", *arguments)
    assert said.startswith(
        "teacher must have a U-Net without added conditions, not with addition_embed_type 'text_time'"
    )


@pytest.mark.parametrize(
    ("changes", "rule"),
    [({"in_channels": 4, "out_channels": 4}, "latent channels"), ({"cross_attention_dim": 64}, "text width")],
)
def test_a_teacher_that_disagrees_with_the_student_is_refused(refused_train, tmp_path, changes, rule):
    other = teacher_copy(tmp_path / "other", "unet", **changes)
    change_config(other, "vae", latent_channels=changes.get("out_channels", 8))  # its own parts belong together
    change_config(other, "text_encoder", hidden_size=changes.get("cross_attention_dim", 128))
    said = refused_train("+teacher@stages.few_step.teacher=custom", f"stages.few_step.teacher.path_or_id={other}")
    assert rule in said
    assert f"not {changes.popitem()[1]}." in said


@pytest.mark.parametrize(
    ("part", "changes", "sentence"),
    [
        ("vae", {"latent_channels": 4}, "teacher must have a U-Net for the 4 latent channels of its VAE, not 8."),
        (
            "unet",
            {"cross_attention_dim": 96},
            "teacher must have a U-Net for the text width 128 of its text encoder, not 96.",
        ),
    ],
)
def test_a_teacher_whose_parts_disagree_is_refused_before_any_work(refused_train, tmp_path, part, changes, sentence):
    assert refused_train(f"teacher={teacher_copy(tmp_path / 'teacher', part, **changes)}") == sentence


def test_a_resume_path_that_does_not_exist_is_refused(refused_train):
    said = refused_train("stage=distil", "resume=nowhere/step-00000100")
    assert said == "resume must be null, last or a checkpoint's folder, but 'nowhere/step-00000100' does not exist."


def test_a_stage_that_does_not_exist_is_refused(refused_train):
    assert refused_train("stage=distill").startswith("stage must be one of encode, prune, distil, few_step, evaluate")


def test_a_stage_whose_inputs_are_unfinished_is_refused(refused, tmp_path):
    arguments = ["+experiment=lcm_bksdm", f"paths.outputs={tmp_path}", "stage=distil"]
    assert "stage must be one whose inputs are finished, but 'encode'" in refused(train.main, *arguments)


def test_train_without_an_experiment_names_them(refused):
    assert "experiment must be given, as +experiment=NAME with one of" in refused(train.main)


@pytest.mark.parametrize("arguments", [(), ("encoded=null", "~stages.encode")])
def test_texts_are_refused_where_images_are_trained_on(refused_train, arguments):
    assert "data must be images for this" in refused_train("data=texts", *arguments)
