"""The held-out curve, the weights that it keeps, and both after a resume."""

import functools
import math

import pytest
import torch
from lightning.pytorch import Callback

from ldc.evaluation.language.retraining_curves import read_curve
from ldc.objectives import CausalScores, LanguageModelling, Networks
from ldc.training import BestWeights, DistillationModule, HeldOut, Interrupted, adamw, fit, loggers
from ldc.training.csv_log import read
from tests.training.tokens import LENGTH, TokenStream, token_batch

STEPS, BATCH = 6, 2


class StopAt(Callback):
    """Stops before a step's first micro-batch; the checkpoint of an earlier one is there."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            raise Interrupted(143)


@pytest.fixture
def batches():
    return [token_batch(20, 21, 22), token_batch(25)]


@pytest.fixture
def train(tiny_llama, tmp_path, batches):
    def run(name, *, lr=1e-2, keep=True, stop=None, every=2, **options):
        folder = tmp_path / name
        module = DistillationModule(
            LanguageModelling(),
            CausalScores(tiny_llama(num_hidden_layers=1, tie_word_embeddings=True)),
            optimizer=functools.partial(adamw, lr=lr),
            **options,
        )
        best = BestWeights() if keep else None
        held_out = HeldOut(batches, folder, every, best)
        result = fit(
            module,
            TokenStream(BATCH, seed=0),
            folder=folder,
            max_steps=STEPS,
            checkpoint_every_n_steps=3,
            log_every_n_steps=1,
            average=best,
            callbacks=[held_out, *([] if stop is None else [StopAt(stop)])],
            loggers=loggers(["csv"], folder, "run"),
            accelerator="cpu",
            progress=False,
        )
        return module, held_out, result

    return run


def weights(module, result):
    with result.average.applied(module.bare_student) as student:
        return {name: value.clone() for name, value in student.state_dict().items()}


def test_a_row_is_written_before_the_first_step_every_n_and_at_the_end(train, tmp_path):
    train("run", every=4)
    rows = read_curve(tmp_path / "run" / "held_out.csv")
    assert [row["step"] for row in rows] == [0, 4, 6]
    assert [row["tokens"] for row in rows] == [step * BATCH * LENGTH for step in (0, 4, 6)]
    assert [row["perplexity"] for row in rows] == pytest.approx([math.exp(row["loss"]) for row in rows])
    assert 0 == rows[0]["seconds"] < rows[1]["seconds"] < rows[2]["seconds"]


def test_the_loss_is_the_mean_over_all_labels_of_the_batches(train, batches):
    module, held_out, _ = train("run", keep=False)
    student = module.bare_student.eval()
    with torch.no_grad():
        losses = [LanguageModelling()(Networks(student), batch)["task"].item() for batch in batches]
    counts = [LanguageModelling().weight(batch).item() for batch in batches]
    expected = sum(loss * count for loss, count in zip(losses, counts, strict=True)) / sum(counts)
    assert held_out.rows[-1][3] == pytest.approx(expected)


def test_the_trackers_get_loss_and_perplexity(train, tmp_path):
    _, held_out, _ = train("run")
    logged = {row["step"]: row for row in read(tmp_path / "run" / "metrics.csv") if row["val/loss"]}
    assert [float(row["val/loss"]) for row in logged.values()] == [row[3] for row in held_out.rows]
    assert list(logged) == ["0", "2", "4", "6"]


def test_the_curve_is_drawn(train, tmp_path):
    train("run")
    assert (tmp_path / "run" / "samples" / "held_out.png").stat().st_size > 5000


def test_the_weights_of_the_lowest_loss_are_kept(train):
    module, held_out, result = train("run", lr=1e-2)
    losses = [row[3] for row in held_out.rows]
    assert result.average.loss == min(losses) < losses[0]
    assert result.average.step == held_out.rows[losses.index(min(losses))][0]
    with result.average.applied(module.bare_student):
        assert held_out.loss(module.trainer, module) == pytest.approx(min(losses), rel=1e-6)


def test_training_that_makes_it_worse_keeps_the_weights_it_began_with(train, tiny_llama):
    module, _, result = train("run", lr=2.0)
    assert result.average.step == 0
    begun = tiny_llama(num_hidden_layers=1, tie_word_embeddings=True).state_dict()
    torch.testing.assert_close(weights(module, result), {f"model.{k}": v for k, v in begun.items()}, rtol=0, atol=0)


@pytest.mark.parametrize("lr", [1e-2, 2.0])
def test_a_resumed_fit_has_the_curve_and_the_best_weights_of_the_straight_one(train, tmp_path, lr):
    straight, curve, whole = train("straight", lr=lr)
    with pytest.raises(Interrupted):
        train("resumed", lr=lr, stop=5)
    kept = read_curve(tmp_path / "resumed" / "held_out.csv")
    resumed, curve_again, result = train("resumed", lr=lr)

    without_time = [[row[:2] + row[3:] for row in rows] for rows in (curve.rows, curve_again.rows)]
    assert without_time[0] == without_time[1]
    assert [row["step"] for row in kept] == [0, 2, 4]  # step 4 was measured after the checkpoint of step 3
    assert curve_again.rows[1][2] == kept[1]["seconds"]
    assert result.average.step == whole.average.step
    for name, value in weights(straight, whole).items():
        assert torch.equal(weights(resumed, result)[name], value), name


def test_a_tied_weight_is_in_a_checkpoint_once(train):
    module, _, _ = train("run")
    names = set(module.state_dict())
    assert "student.model.model.embed_tokens.weight" in names
    assert "average.model.model.embed_tokens.weight" in names
    assert not any("lm_head" in name for name in names)


def test_a_compiled_and_checkpointed_student_has_the_curve_of_the_plain_one(train):
    _, plain, _ = train("plain")
    # Traced and split as by any backend, without a compiler.
    _, compiled, _ = train("compiled", compile={"backend": "eager"}, gradient_checkpointing=True)
    losses = [[row[3] for row in held_out.rows] for held_out in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_padding_is_not_counted_as_tokens_read(train, tmp_path, monkeypatch):
    collate = TokenStream.collate

    def padded(self, samples):
        batch = collate(self, samples)
        batch.mask[:, :3] = 0
        return batch

    monkeypatch.setattr(TokenStream, "collate", padded)
    train("run")
    assert read_curve(tmp_path / "run" / "held_out.csv")[-1]["tokens"] == STEPS * BATCH * (LENGTH - 3)


def test_no_held_out_text_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"held-out texts must be at least one batch, .* not 0 and 100\."):
        HeldOut([], tmp_path)
