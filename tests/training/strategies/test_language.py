"""Language models with tied embeddings train, are measured and are published alike under ddp and fsdp2."""

import functools

import pytest
import torch
from torch.distributed.tensor import DTensor

from ldc.evaluation.language.retraining_curves import read_curve
from ldc.objectives import CausalScores, LogitDistillation
from ldc.objectives.lora import LANGUAGE_TARGETS, AdaptersOff, add_lora
from ldc.training import BestWeights, DistillationModule, HeldOut, adamw, fit, loggers
from ldc.training.csv_log import read
from ldc.training.strategies.blocks import blocks
from tests.conftest import tiny_llama
from tests.training.tokens import TokenStream, token_batch

pytestmark = pytest.mark.integration
FITS = ("ddp", "fsdp2", "deepspeed_zero2")
DIVIDED = FITS[1:]  # each rank keeps a part of the best weights
STEPS, RANKS, MICRO, ACCUMULATE = 4, 2, 1, 2
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def llama(number=2):
    return tiny_llama.__wrapped__()(num_hidden_layers=number, tie_word_embeddings=True)


def parts(*, adapted):
    if adapted:
        torch.manual_seed(0)
        student = CausalScores(add_lora(llama(), 4, 8, LANGUAGE_TARGETS), 5)
        return student, AdaptersOff(student)
    return CausalScores(llama(), 5), CausalScores(llama(3))


def train(folder, strategy, *, ranks=RANKS, adapted=False, resume=False, lr=1e-2, **options):
    """A fit of a batch of 4 samples of unequal labels; `resume` goes on from the checkpoint of another fit's folder."""
    student, teacher = parts(adapted=adapted)
    module = DistillationModule(
        LogitDistillation(),
        student,
        teacher,
        optimizer=functools.partial(adamw, lr=lr),
        gradient_checkpointing=True,
    )
    best = BestWeights()
    held_out = HeldOut([token_batch(n) for n in (20, 25, 29)], folder, 1, best)
    result = fit(
        module,
        TokenStream(MICRO if ranks > 1 else MICRO * RANKS * ACCUMULATE, seed=0),
        folder=folder,
        max_steps=STEPS,
        accumulate_grad_batches=ACCUMULATE if ranks > 1 else 1,
        gradient_clip_val=0.5,
        log_every_n_steps=1,
        checkpoint_every_n_steps=2,
        average=best,
        callbacks=[held_out],
        loggers=loggers(["csv"], folder, "run"),
        accelerator="cpu",
        devices=ranks,
        strategy=strategy,
        timeout_seconds=60,
        progress=False,
        resume=resume or None,
        **options,
    )
    if result.student is not None:
        save(result.student, folder, best)
    elif module.trainer.is_global_zero:
        with best.applied(module.bare_student) as published:
            save(published, folder, best)
    return module


def save(student, folder, best):
    model = student.model
    assert model.lm_head.weight is model.model.embed_tokens.weight
    torch.save({"weights": model.state_dict(), "step": best.step}, folder / "published.pt")
    if not hasattr(model, "peft_config"):
        model.save_pretrained(folder / "stock")


def work(folder, _rank):
    """Returns by fit whether the student's parameters are divided."""
    divided = {}
    for name in FITS:
        module = train(folder / name, name)
        divided[name] = {isinstance(p, DTensor) for p in module.bare_student.parameters()}
        train(folder / f"{name}, resumed", name, resume=folder / name / "checkpoints" / "step-00000002")
    for name in DIVIDED:
        train(folder / f"{name}, worse", name, lr=2.0)
        checkpoint = folder / f"{name}, worse" / "checkpoints" / "step-00000002"
        train(folder / f"{name}, worse, resumed", name, lr=2.0, resume=checkpoint)
    for name in FITS[:2]:
        train(folder / f"{name}, adapters", name, adapted=True)
    return divided


@pytest.fixture(scope="module")
def runs(torchrun, tmp_path_factory):
    folder = tmp_path_factory.mktemp("language")
    divided = torchrun(functools.partial(work, folder), RANKS, folder)
    train(folder / "one", "auto", ranks=1)
    train(folder / "one, adapters", "auto", ranks=1, adapted=True)
    return folder, divided


def losses(folder):
    rows = [row for row in read(folder / "metrics.csv") if row["train/total"]]
    return torch.tensor([[float(row[name]) for name in ("train/total", "train/task", "train/logits")] for row in rows])


def curve(folder):
    return torch.tensor(
        [[row[name] for name in ("step", "tokens", "loss")] for row in read_curve(folder / "held_out.csv")]
    )


def published(folder):
    return torch.load(folder / "published.pt", weights_only=True)


def test_the_units_of_a_language_model_are_its_blocks():
    scores = CausalScores(llama(3))
    assert list(blocks(scores)) == list(scores.model.model.layers)


def test_the_units_of_an_adapted_one_are_its_blocks_too():
    scores, _ = parts(adapted=True)
    assert list(blocks(scores)) == list(scores.model.model.layers)


@pytest.mark.parametrize("name", FITS)
def test_micro_batches_on_two_ranks_train_as_one_batch_on_one(name, runs):
    torch.testing.assert_close(losses(runs[0] / name), losses(runs[0] / "one"), **TOLERANCE)
    torch.testing.assert_close(curve(runs[0] / name), curve(runs[0] / "one"), **TOLERANCE)


@pytest.mark.parametrize("name", FITS)
def test_the_best_weights_are_published_whole_and_tied(name, runs):
    ours, theirs = (published(runs[0] / fit_name) for fit_name in (name, "one"))
    assert ours["step"] == theirs["step"] > 0
    torch.testing.assert_close(ours["weights"], theirs["weights"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", FITS)
def test_the_published_folder_is_a_stock_model(name, runs):
    from transformers import LlamaForCausalLM  # noqa: PLC0415 - costs seconds

    loaded = LlamaForCausalLM.from_pretrained(runs[0] / name / "stock", local_files_only=True)
    torch.testing.assert_close(loaded.state_dict(), published(runs[0] / name)["weights"], rtol=0, atol=0)


@pytest.mark.parametrize("name", FITS[:2])
def test_adapters_train_as_on_one_rank(name, runs):
    ours, theirs = (runs[0] / f"{fit_name}, adapters" for fit_name in (name, "one"))
    torch.testing.assert_close(losses(ours), losses(theirs), **TOLERANCE)
    torch.testing.assert_close(curve(ours), curve(theirs), **TOLERANCE)


@pytest.mark.parametrize("name", FITS)
def test_a_resumed_fit_is_bit_equal(name, runs):
    straight, resumed = (runs[0] / fit_name for fit_name in (name, f"{name}, resumed"))
    assert torch.equal(curve(resumed), curve(straight))
    assert torch.equal(losses(resumed), losses(straight)[2:])
    ours, theirs = published(resumed), published(straight)
    assert ours["step"] == theirs["step"]
    assert all(torch.equal(value, theirs["weights"][key]) for key, value in ours["weights"].items())


@pytest.mark.parametrize("name", DIVIDED)
def test_what_was_best_before_a_checkpoint_is_published_after_a_resume(name, runs):
    straight, resumed = (published(runs[0] / fit_name) for fit_name in (f"{name}, worse", f"{name}, worse, resumed"))
    assert resumed["step"] == straight["step"] < 2
    assert all(torch.equal(value, straight["weights"][key]) for key, value in resumed["weights"].items())


def test_fsdp2_alone_divides_the_weights(runs):
    _, divided = runs
    assert [ranks["fsdp2"] for ranks in divided] == [{True}, {True}]
    assert [ranks["ddp"] for ranks in divided] == [{False}, {False}]
