"""Batches of instructions: the split that is published, the order, and padding on the left."""

import numpy as np
import pytest
import torch

from ldc.data.text.instruction_stream import InstructionStream, padding_id, split_instructions
from ldc.data.text.instructions import Instruction, InstructionTokens, Template

SHORT = Template(with_input="{instruction} : {input} .", without_input="{instruction} .")


@pytest.fixture
def stream(tiny_tokenizer):
    records = [Instruction(f"number {number}", "", "words " * (1 + number)) for number in range(9)]
    return InstructionStream(InstructionTokens(records, tiny_tokenizer, 256, SHORT), pad=7, seed=1)


def test_the_split_holds_out_what_numpys_permutation_of_the_seed_begins_with():
    train, held_out = split_instructions(51760, 2000, 42)  # records of the cleaned Alpaca data
    assert len(held_out) == 2000
    assert held_out + train == np.random.default_rng(42).permutation(51760).tolist()  # what `datasets` draws
    assert split_instructions(51760, 2000, 43)[1] != held_out


def test_of_a_small_file_a_tenth_is_held_out():
    assert [len(part) for part in split_instructions(25, 2000, 42)] == [23, 2]
    assert split_instructions(9, 2000, 42)[1] == []


def test_shorter_instructions_are_filled_up_on_the_left_to_a_multiple_of_eight(stream):
    batch = stream.collate([(0, 0), (1, 5)])
    lengths = batch.mask.sum(1).tolist()
    assert lengths == [6, 11]  # BOS, three of the prompt, words, EOS
    assert batch.ids.shape == batch.labels.shape == (2, 16)
    for ids, labels, mask, length in zip(batch.ids, batch.labels, batch.mask, lengths, strict=True):
        assert mask.tolist() == [0] * (16 - length) + [1] * length
        assert ids[: 16 - length].tolist() == [7] * (16 - length)
        assert (labels[: 16 - length + 4] == -100).all()
        assert torch.equal(labels[16 - length + 4 :], ids[16 - length + 4 :])


def test_an_epoch_has_every_instruction_once_in_an_order_of_the_position_alone(stream):
    numbers = [stream[position][1] for position in range(18)]
    assert sorted(numbers[:9]) == sorted(numbers[9:]) == list(range(9))
    assert numbers[:9] != numbers[9:]


def test_padding_is_the_tokenizers_else_unknown_else_eos(make_tokenizer):
    assert padding_id(make_tokenizer(pad="</s>")) == 2
    assert padding_id(make_tokenizer()) == 0
    without_unknown = make_tokenizer()
    without_unknown.unk_token = None
    assert padding_id(without_unknown) == 2
    without_unknown.eos_token = None
    with pytest.raises(
        ValueError, match=r"must have a padding, unknown or EOS token to fill up with, but it has none\."
    ):
        padding_id(without_unknown)
