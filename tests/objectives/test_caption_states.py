import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from ldc.data.builders.tokenizer import build_tokenizer
from ldc.data.captions import CaptionStatesDataset, load_reference
from ldc.objectives.base import Networks
from ldc.objectives.caption_states import CaptionStates, StateRegressor

TEXTS = ["red apple", "green pineapple", "a red pear, green!", "pear", "green apple in red style"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "green", "apple", "pine", "##apple", "pear", "a", "in", "style"]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    backend = Tokenizer(WordPiece({piece: number for number, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = Lowercase(), Whitespace()
    backend.post_processor = TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", model_max_length=32).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(PIECES), **sizes)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(["red", "green", "apple"] * 2, size=600)  # other words fall into bytes


@pytest.fixture(scope="module")
def dataset(reference, tokenizer):
    return CaptionStatesDataset(TEXTS, tokenizer, reference, num_words=4)


@pytest.fixture
def student():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = CLIPTextModel(CLIPTextConfig(vocab_size=600, max_position_embeddings=24, eos_token_id=599, **sizes))
    return StateRegressor(text, reference_width=12)


def test_targets_are_standardised_over_the_rows_that_exist(dataset, reference):
    bert_tokenizer, bert = load_reference(reference)
    with torch.no_grad():
        states = bert(**bert_tokenizer("green pineapple", return_tensors="pt")).last_hidden_state[0]
    # [CLS] green pine ##apple [SEP]: the second word is the mean of its pieces; the last row is the mean of all.
    rows = torch.stack([states[1], states[2:4].mean(0), states.mean(0)])
    targets = dataset.targets[1][[0, 1, 4]]
    # Standardising is one affine map a channel, so differences keep their ratio.
    ratio = (targets[0] - targets[2]) / (rows[0] - rows[2])
    torch.testing.assert_close((targets[1] - targets[2]) / (rows[1] - rows[2]), ratio, rtol=1e-3, atol=1e-4)
    existing = dataset.targets[dataset.mask]
    torch.testing.assert_close(existing.mean(0), torch.zeros(12), rtol=0, atol=1e-5)
    torch.testing.assert_close(existing.std(0), torch.ones(12), rtol=1e-4, atol=0)


def test_mask_has_the_words_and_the_whole_text(dataset):
    assert dataset.mask.tolist() == [
        [True, True, False, False, True],
        [True, True, False, False, True],
        [True, True, True, True, True],
        [True, False, False, False, True],
        [True, True, True, True, True],  # its fifth word has no row
    ]


def test_pooling_averages_a_words_tokens_and_picks_the_end(dataset, tokenizer):
    length = int((dataset.tokens[3] == tokenizer.eos_token_id).int().argmax())  # start, the bytes of "pear", end
    word, end = dataset.pooling[3][0], dataset.pooling[3][-1]
    assert length > 2
    assert word[1:length].tolist() == pytest.approx([1 / (length - 1)] * (length - 1))
    assert end.nonzero().flatten().tolist() == [length]
    assert word.sum().item() == pytest.approx(1)


def test_loss_is_the_mean_over_existing_rows(dataset, student):
    batch = dataset.collate([dataset[position] for position in range(3)])
    losses = CaptionStates()(Networks(student), batch)
    predicted = student(batch.tokens, batch.pooling)
    expected = (predicted - batch.targets)[batch.mask].pow(2).mean()
    torch.testing.assert_close(losses["total"], expected, rtol=1e-5, atol=0)
    assert torch.equal(losses["states"], losses["total"])


def test_rows_that_do_not_exist_have_no_influence(dataset, student):
    batch = dataset.collate([dataset[position] for position in range(5)])
    spoiled = batch._replace(targets=torch.where(batch.mask[..., None], batch.targets, 1e3))
    assert torch.equal(*(CaptionStates()(Networks(student), b)["total"] for b in (batch, spoiled)))


def test_a_few_steps_reduce_the_loss(dataset, student):
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2)
    batch = dataset.collate([dataset[position] for position in range(5)])
    totals = []
    for _ in range(20):
        loss = CaptionStates()(Networks(student), batch)["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < 0.8 * totals[0]


def test_epoch_of_the_stream_has_every_text_once(dataset):
    batch = dataset.collate([dataset[position] for position in range(5, 10)])
    assert sorted(batch.keys) == sorted(TEXTS)
    assert batch.positions.tolist() == [5, 6, 7, 8, 9]


def test_held_out_texts_are_not_in_the_stream(reference, tokenizer):
    dataset = CaptionStatesDataset(TEXTS, tokenizer, reference, num_held_out=2)
    held_out = dataset.held_out().keys
    trained = dataset.collate([dataset[position] for position in range(9)]).keys
    assert len(held_out) == 2
    assert set(trained) == set(TEXTS) - set(held_out)


def test_folder_without_a_model_is_refused(tokenizer, tmp_path):
    with pytest.raises(ValueError, match=r"folder with an encoder's config\.json"):
        CaptionStatesDataset(TEXTS, tokenizer, tmp_path / "none")


def test_holding_out_everything_is_refused(tokenizer, reference):
    with pytest.raises(ValueError, match=r"num_held_out must be in \[0, 5\), not 5"):
        CaptionStatesDataset(TEXTS, tokenizer, reference, num_held_out=5)
