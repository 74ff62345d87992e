"""The loss of a step is the mean over all labels of its batch, however that is divided into micro-batches."""

import functools

import pytest
import torch

from ldc.objectives import CausalScores, LanguageModelling, Networks
from ldc.training import DistillationModule, adamw, fit, loggers
from ldc.training.csv_log import read
from tests.training.tokens import TokenStream, token_batch

ADAMW = functools.partial(adamw, lr=1e-3, eps=1e-3)
SGD = functools.partial(torch.optim.SGD, lr=1e-2)


@pytest.fixture
def train(tiny_llama, tmp_path):
    def run(micro, accumulate, *, stream=TokenStream, steps=2, optimizer=ADAMW, clip=0.5):
        folder = tmp_path / f"{micro}-{accumulate}"
        module = DistillationModule(
            LanguageModelling(),
            CausalScores(tiny_llama(num_hidden_layers=1)),
            optimizer=optimizer,
        )
        fit(
            module,
            stream(micro, seed=0),
            folder=folder,
            max_steps=steps,
            accumulate_grad_batches=accumulate,
            gradient_clip_val=clip,
            log_every_n_steps=1,
            loggers=loggers(["csv"], folder, "run"),
            accelerator="cpu",
            progress=False,
        )
        return module.bare_student.state_dict(), read(folder / "metrics.csv")

    return run


def test_micro_batches_of_unequal_labels_train_as_the_whole_batch(train):
    weights, log = train(4, 1)
    for micro in (2, 1):
        divided, divided_log = train(micro, 4 // micro)
        torch.testing.assert_close(divided, weights, rtol=1e-4, atol=1e-6)
        ours, theirs = ([float(row["train/total"]) for row in rows] for rows in (divided_log, log))
        assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize(("micro", "accumulate"), [(4, 1), (1, 4)])
def test_a_step_follows_the_gradient_of_the_mean_over_labels(train, tiny_llama, micro, accumulate):
    """Neither clipped nor made by Adam, which both hide a gradient's size."""
    weights, _ = train(micro, accumulate, steps=1, optimizer=SGD, clip=None)
    scores = CausalScores(tiny_llama(num_hidden_layers=1)).train()
    LanguageModelling()(Networks(scores), token_batch(0, 1, 2, 3))["total"].backward()
    expected = {name: (p - 1e-2 * p.grad).detach() for name, p in scores.named_parameters()}
    torch.testing.assert_close(weights, expected, rtol=1e-4, atol=1e-6)


def test_the_logged_loss_is_not_the_mean_of_means(train):
    _, log = train(1, 4)
    _, whole = train(4, 1)
    assert float(log[0]["train/total"]) == pytest.approx(float(whole[0]["train/total"]), rel=1e-5)


def test_the_gradient_is_that_of_the_mean_over_labels(tiny_llama):
    scores = CausalScores(tiny_llama(num_hidden_layers=1))
    module = DistillationModule(LanguageModelling(), scores, optimizer=functools.partial(adamw, lr=1e-3))
    batch = token_batch(1, 5)
    loss = module.training_step(batch, 0)
    mean = LanguageModelling()(Networks(scores), batch)["total"]
    assert loss.item() == pytest.approx((11 + 7) * mean.item())
    assert module.weights == [18]


class Unlabelled(TokenStream):
    unlabelled = True


def test_a_step_without_labels_is_refused(train):
    with pytest.raises(ValueError, match=r"batch must have at least one label .* all of step 1 are left out\."):
        train(2, 1, stream=Unlabelled)
