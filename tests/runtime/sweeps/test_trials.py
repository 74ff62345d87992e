import pytest

from ldc.runtime.sweeps import read_sweep, trials
from ldc.runtime.sweeps.trials import merged

RANDOM = {"method": "random", "parameters": {"stages.distil.optimizer.lr": {"min": 0.001, "max": 0.01}}}


def test_a_grid_has_every_combination_in_the_files_order(write, settings):
    found = trials(read_sweep(write()), settings())
    values = [tuple(trial.values.values()) for trial in found]
    assert values == [(1e-4, 0), (1e-4, 1), (1e-3, 0), (1e-3, 1)]
    assert [trial.number for trial in found] == [1, 2, 3, 4]
    assert len({trial.id for trial in found}) == 4


def test_a_grid_can_be_cut(write, settings):
    assert len(trials(read_sweep(write(run_cap=3)), settings())) == 3
    assert len(trials(read_sweep(write(run_cap=3)), settings(count=2))) == 2


def test_random_trials_are_those_of_their_seed_however_many_there_are(write, settings):
    sweep = read_sweep(write(**RANDOM))
    few, more, other = (trials(sweep, settings(count=c, seed=s)) for c, s in ((3, 0), (6, 0), (3, 1)))
    assert [trial.values for trial in more[:3]] == [trial.values for trial in few]
    assert [trial.id for trial in more[:3]] == [trial.id for trial in few]
    assert not {trial.id for trial in few} & {trial.id for trial in other}


def test_random_trials_do_not_repeat_each_other(write, settings):
    sweep = read_sweep(write(method="random"))
    assert len({trial.id for trial in trials(sweep, settings(count=9))}) == 4  # of four combinations


def test_random_trials_must_be_counted(write, settings):
    with pytest.raises(ValueError, match=r"count must be given for method random, which has no end, as count=NUMBER."):
        trials(read_sweep(write(**RANDOM)), settings())


def test_a_grid_needs_lists(write, settings):
    with pytest.raises(ValueError, match=r"lr' must have values for method grid, not uniform."):
        trials(read_sweep(write(**{**RANDOM, "method": "grid"})), settings())


def test_a_range_of_seeds_is_drawn_from_and_no_grid(write, settings):
    seeds = {"parameters": {"seed": {"min": 0, "max": 2**62}}}
    assert len(trials(read_sweep(write(**seeds, method="random")), settings(count=3))) == 3
    with pytest.raises(ValueError, match=r"^Parameter 'seed' must have at most 10000 values for method grid, not 46"):
        trials(read_sweep(write(**seeds)), settings(count=3))


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ("'logger=csv", "^overrides must be words as in a shell, with every quote closed, not"),
        ("logger", "^overrides must be settings, as KEY=VALUE, not 'logger'"),
        ("null", "^overrides must be settings, as KEY=VALUE, not 'null'"),
        ("logger=csv run=me", "^overrides must leave run to the sweep, not set 'run=me'"),
        ("metric=evaluate.teacher/kid", "^overrides must leave metric to the sweep"),
        ("paths.outputs=elsewhere", r"^overrides must leave paths\.outputs to the sweep"),
    ],
)
def test_overrides_that_cannot_be_are_refused(write, settings, overrides, sentence):
    with pytest.raises(ValueError, match=sentence):
        trials(read_sweep(write()), settings(overrides=overrides))


def test_bayes_needs_the_server(write, settings):
    with pytest.raises(ValueError, match="method must be grid or random to run here, since W&B's server alone has"):
        trials(read_sweep(write(method="bayes")), settings(count=2))


def test_the_command_is_the_files_with_the_values_and_the_users_own_last(write, settings):
    [trial, *_] = trials(read_sweep(write()), settings(overrides="seed=7 'data.path=a b'"))
    start = "python -m ldc.train +experiment=bksdm metric=evaluate.student/kid '~stages.evaluate.settings' "
    assert trial.command.startswith(start)
    assert trial.command.endswith("stages.distil.optimizer.lr=0.0001 seed=7 'data.path=a b'")


def test_the_arguments_fix_the_run_by_what_it_is(write, settings, tmp_path):
    [trial, *_] = trials(read_sweep(write()), settings())
    assert trial.arguments[-2:] == [f"paths.outputs={tmp_path / 'outputs'}", f"run=toy-{trial.id}"]
    assert not any("WANDB" in word for word in trial.arguments)
    assert trial.folder == tmp_path / "outputs" / "bksdm" / f"toy-{trial.id}"


def test_a_trial_keeps_its_run_when_the_file_gets_more_values(write, settings):
    before = {trial.id for trial in trials(read_sweep(write()), settings())}
    parameters = {"stages.distil.optimizer.lr": {"values": [1e-5, 1e-4, 1e-3]}, "seed": {"values": [0, 1]}}
    after = {trial.id for trial in trials(read_sweep(write(parameters=parameters)), settings())}
    assert len(before & after) == 4


def test_a_clusters_trial_is_in_the_folder_of_its_training(write, settings, tmp_path):
    words = [
        "--config-dir=sites",
        "+experiment=bksdm",
        "cluster=ours",
        "submit=true",
        "trainer=gpu",
        "metric=evaluate.distilled, 25 steps/kid",
    ]
    command = ["${env}", "${interpreter}", "-m", "${program}", *words, "${args_no_hyphens}"]
    metric = {"name": "evaluate/distilled, 25 steps/kid"}
    [trial, *_] = trials(read_sweep(write(program="ldc.launch", command=command, metric=metric)), settings())
    assert trial.command.startswith(
        "python -m ldc.launch --config-dir=sites +experiment=bksdm cluster=ours submit=true"
    )
    assert trial.folder == tmp_path / "outputs" / "bksdm" / f"toy-{trial.id}"


def test_a_wrong_setting_is_refused(write, settings):
    [trial, *_] = trials(read_sweep(write()), settings(overrides="stages.distil.max_steps=many"))
    with pytest.raises(ValueError, match=r"stages.distil.max_steps must be a whole number, not 'many'."):
        _ = trial.folder


def test_a_later_word_replaces_an_earlier_one_of_its_key():
    assert merged(["logger=wandb", "~a.b", "+a.b=1", "logger=csv"]) == ["logger=csv", "~a.b", "+a.b=1"]
