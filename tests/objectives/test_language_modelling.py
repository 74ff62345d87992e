"""Next-token loss and logit distillation against transformers' loss and the textbook's formulas, on the tiny Llama."""

import copy

import pytest
import torch
from torch.nn.functional import kl_div, log_softmax

from ldc.data.text import NO_LOSS, TokenBatch
from ldc.objectives import CausalScores, LanguageModelling, LogitDistillation, Networks
from ldc.objectives.logit_distillation import check_vocabulary


@pytest.fixture(scope="module")
def models():
    from tests.conftest import tiny_llama  # noqa: PLC0415

    build = tiny_llama.__wrapped__()
    return build(num_hidden_layers=2), build(num_hidden_layers=3)


@pytest.fixture
def batch():
    """Two rows, the first padded on the left, its prompt without labels."""
    ids = torch.randint(3, 256, (2, 12), generator=torch.Generator().manual_seed(0))
    mask, labels = torch.ones_like(ids), ids.clone()
    mask[0, :3], labels[0, :6] = 0, NO_LOSS
    return TokenBatch(ids, labels, mask, torch.arange(2), ["a", "b"])


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def test_the_task_loss_is_transformers_own(models, batch):
    model, _ = models
    losses = LanguageModelling()(Networks(CausalScores(model)), batch)
    expected = model(input_ids=batch.ids, attention_mask=batch.mask, labels=batch.labels).loss
    torch.testing.assert_close(losses["total"], expected)
    assert set(losses) == {"total", "task", "weighted/task"}


def test_the_weight_is_the_number_of_tokens_that_are_predicted(batch):
    assert LanguageModelling().weight(batch) == 6 + 11


@pytest.mark.parametrize("tied", [False, True])
def test_chunks_of_places_change_neither_losses_nor_gradients(batch, tiny_llama, tied):
    model, parent = tiny_llama(num_hidden_layers=2, tie_word_embeddings=tied), tiny_llama(num_hidden_layers=3)
    objective = LogitDistillation()
    found = []
    for size in (5, 1000):
        losses = objective(Networks(CausalScores(model, size), CausalScores(parent)), batch)
        found.append((losses, gradients(model, losses["total"])))
    torch.testing.assert_close(found[0], found[1])


def test_no_logits_of_more_places_than_a_chunk_are_made(models, batch):
    sizes = []
    hook = models[0].lm_head.register_forward_hook(lambda _module, _args, logits: sizes.append(logits.shape[0]))
    LanguageModelling()(Networks(CausalScores(models[0], 5)), batch)["total"].backward()
    hook.remove()
    assert sizes == [5, 5, 5, 5, 2, 2, 5, 5, 5, 5]  # forward, then once more from the end


def test_the_logits_term_is_the_textbooks(models, batch):
    student, parent = models
    objective = LogitDistillation(temperature=3.0, task_weight=0.5, logits_weight=2.0)
    losses = objective(Networks(CausalScores(student), CausalScores(parent)), batch)
    with torch.no_grad():
        ours, theirs = (
            log_softmax(model(input_ids=batch.ids, attention_mask=batch.mask).logits[:, :-1] / 3, -1)
            for model in (student, parent)
        )
    by_token = kl_div(ours, theirs, reduction="none", log_target=True).sum(-1)[batch.labels[:, 1:] != NO_LOSS]
    torch.testing.assert_close(losses["logits"], 9 * by_token.mean())
    torch.testing.assert_close(losses["total"], 0.5 * losses["task"] + 2 * losses["logits"])


def test_a_student_that_equals_its_parent_has_no_logits_term(models, batch):
    scores = CausalScores(models[0])
    assert LogitDistillation()(Networks(scores, scores), batch)["logits"].item() == pytest.approx(0, abs=1e-6)


def test_the_parents_logits_are_read_where_they_are(models, batch):
    """A copy of them would be the largest tensor of a step: gigabytes at a vocabulary of 128,000."""
    student, parent = models
    held, read = [], []

    class Watched(CausalScores):
        def _sums(self, states, labels, parent, t):
            read.append(parent.untyped_storage().data_ptr())
            return super()._sums(states, labels, parent, t)

    hook = parent.lm_head.register_forward_hook(lambda _module, _args, z: held.append(z.untyped_storage().data_ptr()))
    LogitDistillation()(Networks(Watched(student, 5), CausalScores(parent)), batch)
    hook.remove()
    assert len(read) == 5
    assert set(read) == set(held)


def test_the_parent_gets_no_gradient(models, batch):
    student, parent = models
    parent.zero_grad()
    LogitDistillation()(Networks(CausalScores(student), CausalScores(parent)), batch)["total"].backward()
    assert all(parameter.grad is None for parameter in parent.parameters())


def test_the_losses_are_in_float32_under_bfloat16(models, batch):
    with torch.autocast("cpu", torch.bfloat16):
        losses = LogitDistillation()(Networks(*map(CausalScores, models)), batch)
    assert {loss.dtype for loss in losses.values()} == {torch.float32}


def test_a_micro_batch_without_labels_adds_nothing(models, batch):
    scores = CausalScores(models[0])
    empty = batch._replace(labels=torch.full_like(batch.labels, NO_LOSS))
    losses = LanguageModelling()(Networks(scores), empty)
    assert losses["total"].item() == LanguageModelling().weight(empty).item() == 0
    assert not any(g.any() for g in gradients(models[0], losses["total"]).values())


def test_gradient_checkpointing_changes_no_gradient(models, batch):
    model = copy.deepcopy(models[0]).train()
    scores = CausalScores(model)
    plain = gradients(model, LanguageModelling()(Networks(scores), batch)["total"])
    scores.enable_gradient_checkpointing()
    torch.testing.assert_close(gradients(model, LanguageModelling()(Networks(scores), batch)["total"]), plain)


@pytest.mark.parametrize("name", ["Mistral", "Qwen2", "Qwen3", "Gemma", "Gemma2"])
def test_relatives_have_their_own_logits(name, batch):
    import transformers  # noqa: PLC0415

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = getattr(transformers, f"{name}Config")(
        **sizes, num_key_value_heads=1, head_dim=16, vocab_size=256, pad_token_id=0
    )
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    with torch.no_grad():
        expected = model(input_ids=batch.ids, attention_mask=batch.mask).logits[:, :-1]
        torch.testing.assert_close(CausalScores(model)(batch.ids, batch.mask), expected)


def test_an_encoder_is_refused():
    from transformers import BertConfig, BertModel  # noqa: PLC0415

    with torch.device("meta"):
        encoder = BertModel(BertConfig(num_hidden_layers=1))
    with pytest.raises(ValueError, match=r"model must be a causal language model .*, not BertModel\."):
        CausalScores(encoder)


def test_a_parent_of_another_vocabulary_is_refused(tiny_llama):
    student, parent = tiny_llama(num_hidden_layers=1), tiny_llama(num_hidden_layers=1, vocab_size=300)
    with pytest.raises(ValueError, match=r"teacher must have the student's vocabulary of 256 tokens .*, not 300\."):
        check_vocabulary(student, parent)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": 0}, r"temperature must be above 0, not 0\."),
        ({"task_weight": -1}, "must not be negative"),
        ({"task_weight": 0, "logits_weight": 0}, "one above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        LogitDistillation(**settings)
