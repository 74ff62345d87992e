"""The shipped ablations: every job composes, and rows share what they can."""

import pytest
from hydra import compose, initialize_config_dir

from ldc.runtime import CONF
from ldc.runtime.ablations import check_ablation, chosen_jobs, jobs

SHIPPED = sorted(path.stem for path in (CONF / "ablation").glob("*.yaml"))


def ablation(name, *overrides):
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("ablate", overrides=[f"ablation={name}", *overrides])


def job(cfg, name, seed=0):
    return next(job for job in jobs(cfg) if (job.name, job.seed) == (name, seed))


@pytest.fixture(scope="module")
def composed():
    """All jobs of one seed by ablation: they keep what is composed of them."""
    return {name: jobs(ablation(name, "seeds=[1]")) for name in SHIPPED}


@pytest.mark.parametrize("name", SHIPPED)
def test_every_run_of_a_shipped_ablation_is_one_command_that_composes(composed, name):
    cfg = ablation(name)
    check_ablation(cfg)
    assert [job.name for job in composed[name]] == list(cfg.ablation.runs)
    for one in composed[name]:
        assert one.command.startswith("python -m ldc.train +experiment=")
        assert dict(one.run.cfg.stages.evaluate.settings) == one.measure


@pytest.mark.parametrize("name", SHIPPED)
def test_no_two_runs_of_an_ablation_are_the_same(composed, name):
    assert len({job.run.folder for job in composed[name]}) == len(composed[name])
    assert len({job.ids["evaluate"] for job in composed[name]}) == len(composed[name])


def test_another_seed_is_another_run():
    one, other = (job(ablation("bksdm"), "task", seed=seed) for seed in (0, 2))
    assert one.run.folder != other.run.folder
    assert one.ids["distil"] != other.ids["distil"]
    assert one.ids["encode"] == other.ids["encode"]


def test_both_ablations_share_the_distilled_student(composed):
    """The few-step rows start from the very artifact that the row of Base makes."""
    ids = {job.name: job.ids["distil"] for jobs in composed.values() for job in jobs}
    assert {ids[name] for name in ("base", "ddim", "lcm", "lora", "skip_1")} == {ids["base"]}
    assert ids["tiny"] != ids["base"]


def test_the_rows_of_the_losses_differ_in_what_they_name(composed):
    stages = {job.name: job.run.cfg.stages for job in composed["bksdm"]}
    weights = {
        name: tuple(stages[name].distil.objective[f"{term}_weight"] for term in ("output", "feature"))
        for name in ("random", "task", "output", "base")
    }
    assert weights == {"random": (0, 0), "task": (0, 0), "output": (1.0, 0), "base": (1.0, 1.0)}
    assert {name for name in stages if stages[name].prune.initialise == "random"} == {"random"}


def test_few_step_rows_have_the_papers_loss_but_those_that_name_another(composed):
    objectives = {job.name: job.run.cfg.stages.few_step.objective for job in composed["lcm"]}
    weights = {name: (config.output_weight, config.feature_weight) for name, config in objectives.items()}
    assert (weights.pop("feature"), weights.pop("both")) == ((0, 0.3), (1, 0.3))
    assert set(weights.values()) == {(0, 0)}
    skips = {name: (objectives[name].num_solver_steps, objectives[name].skip) for name in ("lcm", "skip_5", "skip_1")}
    assert skips == {"lcm": (50, 20), "skip_5": (200, 5), "skip_1": (1000, 1)}


def test_all_rows_of_a_seed_draw_the_same_prompts_from_the_same_noise(composed):
    stages = [job.run.cfg.stages.evaluate for jobs in composed.values() for job in jobs]
    assert {(cfg.seed, cfg.num_images, cfg.data.source.archive, cfg.data.source.mini) for cfg in stages} == {
        (1, 256, "assets/emoji64.tar.xz", False)
    }


def test_rows_are_chosen_by_name_and_settings_added_to_all():
    cfg = ablation("bksdm", "rows=[tiny,task]", "seeds=[4]", "overrides='trainer.log_every_n_steps=7'")
    chosen = chosen_jobs(cfg)
    assert [(job.name, job.seed) for job in chosen] == [("task", 4), ("tiny", 4)]
    assert all(job.run.cfg.trainer.log_every_n_steps == 7 for job in chosen)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("seeds=[]", r"seeds must be a list of whole numbers from 0, at least one, not \[\]."),
        ("seeds=3", "seeds must be a list of whole numbers from 0, at least one, not 3."),
        ("seeds=[1,1]", r"seeds must be different, not \[1, 1\]."),
        ("ablation.tables.0.rows.0.row=base/techer", "row of 'teacher' must name RUN/SETTING of this ablation"),
        ("+ablation.tables.0.rows.0.expect=lower", "expect must be better, worse, similar or null, not 'lower'."),
    ],
)
def test_a_wrong_ablation_is_refused(override, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_ablation(ablation("bksdm", override))


def test_one_row_needs_no_brackets():
    assert {job.name for job in chosen_jobs(ablation("bksdm", "rows=tiny"))} == {"tiny"}


def test_an_unknown_row_is_refused():
    with pytest.raises(ValueError, match=r"rows must be among random, task, .*, not 'huge'."):
        chosen_jobs(ablation("bksdm", "rows=[huge]"))
