import pytest

from ldc.artifacts import find
from ldc.models import build_student, load_student, save_student
from ldc.prune import main
from ldc.runtime.paths import ASSETS
from ldc.surgery import Plan

PUBLISHED = {"bksdm_base": (579_384_964, 442), "bksdm_small": (482_346_884, 396), "bksdm_tiny": (323_384_964, 358)}
MACS = {"bksdm_base": 261_496_995_840, "bksdm_small": 255_447_203_840, "bksdm_tiny": 242_754_519_040}


@pytest.mark.parametrize("pruner", PUBLISHED)
def test_a_dry_run_counts_the_published_students(command, pruner):
    """Kim et al. 2024, table 1: https://arxiv.org/abs/2305.15798."""
    summary = command(main, "teacher=sd14", f"pruner={pruner}", "dry_run=true").summary
    assert (summary["params"], summary["tensors"]) == PUBLISHED[pruner]
    assert summary["macs"] == MACS[pruner] > summary["macs_without_attention"]
    assert summary["initialised_from_teacher"] == PUBLISHED[pruner][1]
    assert summary["stock"] is True
    assert summary["plan"]["schema"] == 1
    assert summary["teacher"]["params"] == 859_520_964
    assert "not_supported" not in summary


def test_a_dry_run_plans_stable_diffusion_xl_and_says_that_no_more_can_be_had(command):
    said = command(main, "teacher=sdxl_base", "pruner=koala_1b", "pruner.transformer_depth=[1,2,4]", "dry_run=true")
    summary = said.summary
    assert summary["teacher"]["params"] == 2_567_463_684
    assert (summary["params"], summary["macs"]) == (883_137_604, 1_448_003_010_560)
    assert summary["initialised_from_teacher"] == summary["tensors"]
    assert summary["stock"] is True
    assert [row["keeps"] for row in summary["stages"]][:4] == ["pair 0", "pair 0", "pair 0", "all"]
    assert any(line.startswith("up_blocks.0") and "2 x (resnet + 4-deep attention), up" in line for line in said.err)
    assert f"A run would stop here: {summary['not_supported']}" in said.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["pruner=koala_1b"], "teacher must have a U-Net without added conditions"),
        (["pruner=bksdm_tiny", "dry_run=true"], "the two innermost stages differ in width (640 and 1280), not 'tiny'."),
    ],
)
def test_what_stable_diffusion_xl_does_not_allow_is_refused(refused, arguments, sentence):
    assert sentence in refused(main, "teacher=sdxl_base", *arguments)


def test_a_student_is_not_written_over_its_teacher(refused, tmp_path):
    teacher = load_student(ASSETS / "emoji_ldm")
    folder = save_student(tmp_path / "teacher", build_student(teacher.unet, Plan()), Plan(), teacher)
    weights = (folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    said = refused(main, f"teacher={folder}", "pruner=bksdm_small", f"out={folder}")
    assert said == f"out must be another folder than the teacher's, not {str(folder)!r}."
    assert (folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == weights


def test_a_student_is_not_written_inside_its_teacher(refused, tmp_path):
    folder = ASSETS / "emoji_ldm"
    said = refused(main, f"teacher={folder}", "pruner=bksdm_small", f"out={folder / 'unet'}")
    assert said == f"out must not be a folder inside the teacher's, not {str(folder / 'unet')!r}."


def test_a_student_is_not_written_beside_a_model_of_the_other_kind(refused, tmp_path):
    for name in ("model_index.json", "config.json"):
        (tmp_path / name).write_text("{}")
    language = refused(
        main, "teacher=smollm2_135m", "pruner=depth_perplexity", "pruner.num_removed=6", f"out={tmp_path}"
    )
    assert language.endswith("has a model_index.json.")
    assert refused(main, "teacher=emoji_ldm", "pruner=bksdm_tiny", f"out={tmp_path}").endswith("has a config.json.")


def test_a_student_is_guided_as_its_teacher_and_says_what_it_was_made_of(command, tmp_path):
    command(main, "teacher=emoji_ldm", "pruner=bksdm_small", f"out={tmp_path / 'small'}")
    artifact = find(tmp_path / "small")
    assert artifact.guidance["default"] == load_student(tmp_path / "small").guidance.default == 3.0
    assert artifact.config["pruner"]["variant"] == "small"
    card = (tmp_path / "small" / "README.md").read_text()
    assert "blocks of the teacher were removed" in card
    assert "emoji_ldm" in card
