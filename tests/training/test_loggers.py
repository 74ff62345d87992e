import multiprocessing
import os
import signal

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from ldc.training import fit, loggers
from ldc.training.csv_log import CSVLog, read
from ldc.training.loggers import finish_wandb, has_wandb_key, kept_id, log_image
from ldc.training.plots import loss_curves


def test_the_csv_log_of_a_resumed_run_replaces_the_rows_after_its_checkpoint(tmp_path):
    first = CSVLog(tmp_path)
    for step in range(1, 5):
        first.log_metrics({"train/total": float(step)}, step=step)
    second = CSVLog(tmp_path)
    for step in range(3, 6):
        second.log_metrics({"train/total": 10.0 * step}, step=step)

    rows = [(row["step"], row["train/total"]) for row in read(tmp_path / "metrics.csv")]
    assert rows == [("1", "1.0"), ("2", "2.0"), ("3", "30.0"), ("4", "40.0"), ("5", "50.0")]


def test_the_csv_log_takes_new_metrics_and_drops_a_row_cut_short(tmp_path):
    log = CSVLog(tmp_path)
    log.log_metrics({"a": 1.0}, step=1)
    log.log_metrics({"a": 2.0, "b": 3.0}, step=2)
    log.log_metrics({"b": 4.0}, step=3)
    with log.path.open("a") as file:
        file.write("4,5")

    assert read(log.path) == [
        {"step": "1", "a": "1.0", "b": ""},
        {"step": "2", "a": "2.0", "b": "3.0"},
        {"step": "3", "a": "", "b": "4.0"},
    ]


def test_an_unknown_logger_is_refused(tmp_path):
    with pytest.raises(ValueError, match="loggers must be among csv, tensorboard, wandb, not 'mlflow'"):
        loggers(["csv", "mlflow"], tmp_path, "run")


def test_curves_of_an_empty_log_are_not_drawn(tmp_path):
    assert loss_curves(tmp_path / "metrics.csv", tmp_path / "losses.png") is None


def test_a_key_is_found_in_the_environment_or_in_netrc(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not has_wandb_key()
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password " + "0" * 40)
    assert has_wandb_key()
    (tmp_path / "netrc").write_text("machine example.org login user password secret")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert has_wandb_key()


@pytest.fixture
def offline(monkeypatch):
    """Neither a key nor a mode nor an agent."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", "/nonexistent")


@pytest.mark.integration
def test_wandb_is_offline_without_a_key_and_keeps_its_run_id(tmp_path, offline):
    [first], [second] = (loggers(["wandb"], tmp_path / "distil", "run") for _ in range(2))
    assert isinstance(first, WandbLogger)
    first.log_metrics({"train/total": 1.0}, step=1)
    log_image(first, "samples", Image.new("RGB", (8, 8)), step=1)
    run = first.experiment
    run.finish()

    assert run.offline
    assert second.version == run.id
    assert list(tmp_path.glob("wandb/offline-run-*"))


@pytest.mark.integration
def test_the_stages_of_a_run_share_a_wandb_run_whose_summary_has_their_figures(tmp_path, offline, wandb_summary):
    for stage in ("distil", "few_step"):
        [log] = loggers(["wandb"], tmp_path / stage, "run")
        log.log_metrics({"train/total": 1.0}, step=1)
    finish_wandb(tmp_path, "run", "ldc", {"evaluate/distilled, 25 steps/kid": 0.5})

    summary = wandb_summary(tmp_path)
    assert (summary["distil/train/total"], summary["few_step/train/total"]) == (1.0, 1.0)
    assert summary["evaluate/distilled, 25 steps/kid"] == 0.5


@pytest.mark.integration
def test_two_runs_in_one_process_are_two_wandb_runs(tmp_path, offline, wandb_summary):
    for run in ("one", "two"):
        [log] = loggers(["wandb"], tmp_path / run / "distil", run)
        log.log_metrics({"train/total": 1.0 if run == "one" else 2.0}, step=1)
    finish_wandb(tmp_path / "two", "two", "ldc", {})

    assert [wandb_summary(tmp_path / run)["distil/train/total"] for run in ("one", "two")] == [1.0, 2.0]


def test_the_wandb_run_of_a_sweeps_trial_is_the_agents(tmp_path, offline, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "trial7")
    [log] = loggers(["wandb"], tmp_path / "distil", "run")
    assert log.version == "trial7"
    monkeypatch.delenv("WANDB_RUN_ID")
    [log] = loggers(["wandb"], tmp_path / "distil", "run")
    assert log.version == "trial7"


def test_only_rank_zero_keeps_the_id_and_no_part_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    kept_id(tmp_path / "id", None)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    first = kept_id(tmp_path / "id", None)
    assert [kept_id(tmp_path / "id", given) for given in (None, "agent", None)] == [first, "agent", "agent"]
    assert list(tmp_path.iterdir()) == [tmp_path / "id"]


class SignalSelf(Callback):
    """Tells the process in the second step to stop and to come again."""

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 1:
            os.kill(os.getpid(), signal.SIGUSR1)


@pytest.mark.integration
def test_a_fit_that_was_stopped_goes_on_in_the_same_wandb_run(toy_module, toy_data, tmp_path, offline):
    def work(*callbacks):
        folder = tmp_path / "run" / "distil"
        log = loggers(["wandb"], folder, "run")
        options = {"max_steps": 4, "log_every_n_steps": 1, "accelerator": "cpu", "progress": False}
        try:
            fit(toy_module(), toy_data(4), folder=folder, loggers=log, callbacks=callbacks, **options)
        finally:
            log[0].experiment.finish()  # as W&B does at the end of a process that is no fork

    codes = []
    for callbacks in ((SignalSelf(),), ()):  # two processes, as a job and the same job queued again
        process = multiprocessing.get_context("fork").Process(target=work, args=callbacks)
        process.start()
        process.join()
        codes.append(process.exitcode)

    assert codes == [138, 0]
    run_id = (tmp_path / "run" / "wandb-run-id").read_text()
    names = [path.name for path in (tmp_path / "run" / "wandb").glob("offline-run-*")]
    assert [f"-{run_id}" in name for name in names] == [True, True]  # two of one second: the later one ends in -1
