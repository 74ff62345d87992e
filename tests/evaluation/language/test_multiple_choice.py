import pytest
import torch

from ldc.evaluation.language.multiple_choice import _encode, accuracy, log_likelihoods, questions_of, wilson

WORDS = ["red", "a blue one", "no", "the green house", "ox", "winter"]
ROWS = [
    {"context": f"what is it{'?' * (n % 3)} number {n}", "choices": WORDS[n % 3 : n % 3 + 3], "answer": n % 3}
    for n in range(12)
]


def by_brute_force(model, tokenizer, context, choice):
    """log p of each token of " choice", by one pass a token."""
    ids = tokenizer(context)["input_ids"]
    total = 0.0
    for token in tokenizer(" " + choice)["input_ids"]:
        total += model(torch.tensor([ids])).logits[0, -1].double().log_softmax(dim=-1)[token].item()
        ids = [*ids, token]
    return total


@torch.no_grad()
def test_accuracy_equals_brute_force_by_score_and_by_score_over_length(letters, reader):
    tokenizer, questions = letters(), questions_of(ROWS)
    right, right_norm = [], []
    for question in questions:
        scores = [by_brute_force(reader, tokenizer, question.context, choice) for choice in question.choices]
        by_length = [score / len(choice) for score, choice in zip(scores, question.choices, strict=True)]
        right.append(scores.index(max(scores)) == question.answer)
        right_norm.append(by_length.index(max(by_length)) == question.answer)
    found = accuracy(reader, tokenizer, questions, batch_size=5)
    assert found.correct == tuple(right)
    assert found.acc.value == pytest.approx(sum(right) / 12)
    assert found.acc_norm.value == pytest.approx(sum(right_norm) / 12)
    assert found.chance == pytest.approx(1 / 3)


@torch.no_grad()
def test_scores_do_not_depend_on_the_batch_or_its_padding(letters, reader):
    tokenizer = letters()
    pairs = [(row["context"], choice) for row in ROWS for choice in row["choices"]]
    scored = [_encode(tokenizer, context, choice, bos=False) for context, choice in pairs]
    one, many = (log_likelihoods(reader, scored, size) for size in (1, 7))
    assert torch.allclose(one, many, atol=1e-4)
    assert one.tolist() == pytest.approx([by_brute_force(reader, tokenizer, *pair) for pair in pairs], abs=1e-4)


def test_a_blank_at_the_end_of_the_context_belongs_to_the_choice(letters):
    plain, blank = (_encode(letters(), context, "red", bos=False) for context in ("it is", "it is "))
    assert plain == blank
    assert letters().convert_ids_to_tokens(plain.ids[plain.start :]) == [" ", "r", "e", "d"]


def test_bos_stands_before_each_context_where_it_is_asked_for(letters):
    scored = _encode(letters(), "it is", "red", bos=True)
    assert letters().convert_ids_to_tokens(scored.ids)[:3] == ["<s>", "i", "t"]
    assert letters().convert_ids_to_tokens(scored.ids[scored.start :])[0] == " "


def test_bos_of_a_tokenizer_without_one_is_refused(letters, reader):
    with pytest.raises(ValueError, match="bos must be false for a tokenizer without a BOS token"):
        accuracy(reader, letters(bos=None), questions_of(ROWS), bos=True)


def test_no_questions_are_refused(letters, reader):
    with pytest.raises(ValueError, match="questions must be at least one"):
        accuracy(reader, letters(), [])


def test_a_question_whose_answer_is_no_choice_is_refused():
    with pytest.raises(ValueError, match="Question 0 must have a context, 2 or more choices"):
        questions_of([{"context": "a", "choices": ["b", "c"], "answer": 2}])


def test_the_interval_is_wilsons():
    """8 of 10: Brown, Cai and DasGupta 2001."""
    value, low, high = wilson(8, 10)
    assert (value, low, high) == pytest.approx((0.8, 0.490, 0.943), abs=1e-3)
    assert wilson(0, 5).low == 0.0
    assert wilson(5, 5).high == 1.0
