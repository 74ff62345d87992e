"""A really run ablation of two rows and two seeds: a tiny teacher, two steps a fit, eight images."""

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from ldc import ablate
from ldc.runtime import CONF

pytestmark = pytest.mark.integration
OURS = "# Ours\n\nBefore.\n"
STUDENT = {"student": {"model": "distil", "steps": 1}}
TINY = {
    "name": "tiny",
    "title": "Tiny",
    "experiment": "bksdm",
    "common": ["pruner=bksdm_base", "stages.encode.text=true"],
    "runs": {
        "random": {"overrides": ["stages.prune.initialise=random"], "measure": STUDENT},
        "base": {"overrides": [], "measure": {**STUDENT, "teacher": {"model": "teacher", "steps": 2, "guidance": 1}}},
        "task": {"overrides": ["stages.distil.objective.output_weight=0"], "measure": STUDENT},
    },
    "tables": [
        {
            "title": "Initialisation",
            "source": None,
            "rows": [
                {"label": "random weights", "row": "random/student"},
                {"label": "teacher's", "row": "base/student", "against": "random/student", "expect": "better"},
                {"label": "task", "row": "task/student", "against": ["base/student", "base/teacher"]},
            ],
        }
    ],
    "curves": {"student": ["base/student"], "teacher": ["base/teacher"]},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("ablation")


@pytest.fixture(scope="module")
def run(place, teacher_folder, laion):
    fits = ("max_steps=2", "batch_size=2", "schedule.warmup_steps=0", "grids.steps=[1]")
    data = (f"teacher={teacher_folder}", "data=shards", f"data.path={laion}", "data.size=32")
    settings = " ".join([*data, *(f"stages.distil.{setting}" for setting in fits)])

    def main(**changes):
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            cfg = compose("ablate")
        cfg.ablation = TINY
        cfg.overrides, cfg.seeds, cfg.num_images, cfg.replicates = settings, [0, 1], 8, 100
        cfg.paths.outputs, cfg.paths.cache, cfg.document = f"{place}/outputs", f"{place}/cache", f"{place}/results.md"
        for key, value in changes.items():
            cfg[key] = value
        return ablate.main.task(cfg)

    return main


@pytest.fixture(scope="module")
def before(run):
    return run(dry_run=True)


@pytest.fixture(scope="module")
def summary(before, place, run):
    (place / "results.md").write_text(OURS)
    return run(rows=["random", "base"])


@pytest.fixture(scope="module")
def found(summary):
    return json.loads(Path(summary["results"]).read_text())


def artifact(place, run, stage):
    return json.loads((place / "outputs" / "bksdm" / f"tiny-{run}" / stage / "artifact.json").read_text())


def test_a_dry_run_says_what_is_left_and_makes_nothing(before, place):
    # encode once; prune once by seed and initialisation; distil and evaluate once a run and seed
    assert before["left"]["stages"] == 1 + 4 + 6 + 6
    assert before["left"]["optimizer_steps"] == 12
    assert before["left"]["without_pace"] == before["left"]["stages"]
    assert len(before["commands"]) == 6


def test_stages_that_rows_share_are_made_once(summary, place):
    encoded = [artifact(place, f"{name}-seed{seed}", "encode") for name in ("random", "base") for seed in (0, 1)]
    assert all(one == encoded[0] for one in encoded)
    vae = "prune/vae/diffusion_pytorch_model.safetensors"
    assert artifact(place, "random-seed0", "prune")["id"] != artifact(place, "base-seed0", "prune")["id"]
    assert (place / "outputs" / "bksdm" / "tiny-base-seed0" / vae).stat().st_nlink > 1


def test_random_weights_are_not_the_teachers(summary, place):
    random, base = (artifact(place, f"{name}-seed0", "prune") for name in ("random", "base"))
    assert random["weights"] == "random"
    assert random["metrics"]["params"] == base["metrics"]["params"]
    assert random["metrics"]["initialised_from_teacher"] < base["metrics"]["initialised_from_teacher"]


def test_differences_are_paired_and_have_intervals_and_verdicts(summary, found):
    assert summary["missing"] == found["missing"] == ["task"]
    base, row = found["rows"]["base/student"], found["tables"][0]["rows"][1]
    other = found["rows"]["random/student"]
    for metric in ("kid", "fidelity_top1"):
        difference = row["difference"][metric]
        seeds = [a - b for a, b in zip(base[metric]["seeds"], other[metric]["seeds"], strict=True)]
        assert difference["seeds"] == pytest.approx(seeds)
        assert difference["low"] <= difference["value"] <= difference["high"]
        assert row["verdict"][metric] in {"yes", "no", "not separable"}
    assert found["rows"]["base/teacher"]["unet_passes"] == 2  # guidance 1: one pass a step


def test_while_rows_are_missing_the_document_stays_as_it_is_and_tables_stand_with_the_results(summary, place):
    assert (place / "results.md").read_text() == OURS
    document = Path(summary["document"])
    assert document == place / "outputs" / "results" / "tiny" / "results.md"
    text = document.read_text()
    assert "| task | not measured |" in text
    assert "| random weights |" in text
    assert document.with_name("ablation_tiny.png").is_file()


def test_the_rest_is_made_later_from_what_is_there_and_gives_the_document_its_section(summary, place, run):
    written = (place / "outputs" / "bksdm" / "tiny-base-seed0" / "evaluate" / "per_image.npz").stat().st_mtime_ns
    left = run(dry_run=True)["left"]
    assert left["stages"] == 4  # task: distil and evaluate by two seeds
    assert left["without_pace"] == 0
    again = run()
    assert again["missing"] == []
    evaluated = place / "outputs" / "bksdm" / "tiny-base-seed0" / "evaluate" / "per_image.npz"
    assert evaluated.stat().st_mtime_ns == written
    text = (place / "results.md").read_text()
    assert text.startswith(f"{OURS}\n<!-- ablation tiny -->\n## Tiny\n")
    assert text.count("<!-- ablation tiny -->") == 1
    assert (place / "ablation_tiny.png").is_file()
    assert "not measured" not in text
    linked = place / "outputs" / "bksdm" / "tiny-task-seed0" / "prune" / "unet" / "diffusion_pytorch_model.safetensors"
    assert linked.stat().st_nlink > 1


def test_runs_of_other_settings_are_refused_or_made_anew(summary, place, run):
    with pytest.raises(ValueError, match="start anew with fresh=true"):
        run(num_images=9)
    assert artifact(place, "base-seed0", "evaluate")["metrics"]["table"][0]["stamp"]["num_images"] == 8
    anew = run(num_images=9, rows=["random"], seeds=[0], fresh=True)
    assert anew["missing"] == ["base", "task"]
    assert artifact(place, "random-seed0", "evaluate")["metrics"]["table"][0]["stamp"]["num_images"] == 9
    assert artifact(place, "base-seed0", "evaluate")["metrics"]["table"][0]["stamp"]["num_images"] == 8
