"""The text data modules under a real Trainer: resuming reads what a straight fit reads, and N ranks what one does."""

import json

import pytest

from ldc.data.text.instructions import Instructions
from ldc.data.text.module import InstructionDataModule, TokenDataModule
from ldc.data.text.packing import encode_texts
from ldc.data.text.sources import TextFiles
from tests.data.recorded_fits import Recorder, SaveAt, fit

SEED = 5


def read(module):
    """Returns [position, key, ids without padding, labels of these] of each sample, in the order read."""
    return [
        [int(position), key, ids[mask.bool()].tolist(), labels[mask.bool()].tolist()]
        for batch in module.batches
        for ids, labels, mask, position, key in zip(*batch, strict=True)
    ]


@pytest.fixture(scope="module")
def packed(tmp_path_factory, make_tokenizer, write_texts):
    folder = tmp_path_factory.mktemp("texts")
    source = TextFiles(write_texts(folder / "a.jsonl", 60), held_out=0.2)
    return encode_texts(source, make_tokenizer(), folder / "out", progress=False).folder


@pytest.fixture(scope="module")
def instructions(tmp_path_factory, make_tokenizer):
    """`instructions(batch_size)`: the module over 30 instructions with answers of several lengths."""
    path = tmp_path_factory.mktemp("instructions") / "a.json"
    records = [{"instruction": f"number {n}", "output": "words " * (1 + n % 5)} for n in range(30)]
    path.write_text(json.dumps(records))
    tokenizer = make_tokenizer([f"number {n}" for n in range(30)])
    return lambda batch_size, **options: InstructionDataModule(
        Instructions(path), tokenizer, batch_size, SEED, **options
    )


def tokens(folder, batch_size, **options):
    return TokenDataModule(folder, batch_size, SEED, length=12, **options)


@pytest.mark.integration
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_resumed_fit_reads_the_windows_of_a_straight_one(packed, tmp_path, num_workers, accumulate):
    options = {"accumulate_grad_batches": accumulate}
    straight = fit(tokens(packed, 3, num_workers=num_workers), 5, **options)
    save = SaveAt(2, tmp_path / "c.ckpt")
    before = fit(tokens(packed, 3, num_workers=num_workers), 5, callbacks=[save], **options)
    after = fit(tokens(packed, 3, num_workers=num_workers), 5, resume=save.path, **options)
    assert [position for position, *_ in read(straight)] == list(range(15 * accumulate))
    assert read(before) + read(after) == read(straight)


@pytest.mark.integration
def test_two_ranks_read_what_one_does(packed, tmp_path):
    one = fit(tokens(packed, 4), 4)
    fit(tokens(packed, 2), 4, module=Recorder(tmp_path, read), devices=2, strategy="ddp_fork")
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert sorted(ranks[0] + ranks[1]) == read(one)


@pytest.mark.integration
def test_an_epoch_trains_on_every_window_and_on_none_held_out(packed):
    data = tokens(packed, 1)
    trained = {tuple(ids) for _, _, ids, _ in read(fit(data, data.size))}
    held_out = {tuple(ids) for batch in data.held_out() for ids in batch.ids.tolist()}
    assert len(trained) == data.size
    assert held_out
    assert not trained & held_out


def test_held_out_windows_can_be_limited(packed):
    batches = list(tokens(packed, 2).held_out(limit=3))
    assert [len(batch.ids) for batch in batches] == [2, 1]
    assert batches[0].keys == ["held-out window 0", "held-out window 1"]


def test_text_that_fills_no_window_is_refused_before_training(packed):
    with pytest.raises(ValueError, match=r"the train text must have at least 99999 tokens, one window, not \d+\."):
        TokenDataModule(packed, 3, SEED, length=99999)


@pytest.mark.integration
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_resumed_fit_reads_the_instructions_of_a_straight_one(instructions, tmp_path, num_workers):
    straight = fit(instructions(3, num_workers=num_workers), 5)
    save = SaveAt(2, tmp_path / "c.ckpt")
    before = fit(instructions(3, num_workers=num_workers), 5, callbacks=[save])
    after = fit(instructions(3, num_workers=num_workers), 5, resume=save.path)
    assert read(before) + read(after) == read(straight)


@pytest.mark.integration
def test_two_ranks_read_the_instructions_that_one_does(instructions, tmp_path):
    one = fit(instructions(4), 4)
    fit(instructions(2), 4, module=Recorder(tmp_path, read), devices=2, strategy="ddp_fork")
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert sorted(ranks[0] + ranks[1]) == read(one)


@pytest.mark.integration
def test_an_epoch_trains_on_every_instruction_and_on_none_held_out(instructions):
    data = instructions(1)
    trained = {tuple(ids) for _, _, ids, _ in read(fit(data, data.size))}
    [held_out] = data.held_out(8)
    kept_out = {tuple(ids[mask.bool()].tolist()) for ids, mask in zip(held_out.ids, held_out.mask, strict=True)}
    assert (len(trained), len(kept_out)) == (27, 3)
    assert not trained & kept_out


def test_held_out_instructions_have_no_parts_and_may_be_none(instructions):
    with pytest.raises(ValueError, match=r"part must be null for instructions, which have no parts, not 'kjv'\."):
        instructions(2).held_out(part="kjv")
    with pytest.raises(ValueError, match="instructions must have held-out ones, but none are: num_held_out is 0"):
        instructions(2, num_held_out=0).held_out()
