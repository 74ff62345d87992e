"""The stage on a tiny Llama's tokenizer of words and a few lines of text."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ldc.data.text.module import TokenDataModule
from ldc.runtime.chain import Context
from ldc.runtime.paths import CONF

WORDS = ["document", *map(str, range(90))]


@pytest.fixture
def teacher(tiny_llama, tmp_path):
    tokenizer = Tokenizer(
        models.WordLevel({word: place for place, word in enumerate(["</s>", *WORDS])}, unk_token="</s>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tiny_llama(num_hidden_layers=1).save_pretrained(tmp_path / "teacher")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>").save_pretrained(tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.fixture
def stage(teacher, tmp_path):
    """`stage(*overrides)`: (the stage, its context) on `path`, a text of 90 short documents."""
    (tmp_path / "a.txt").write_text("\n\n".join(f"document {number}" for number in range(90)))

    def build(*overrides, text=True):
        settings = ["+stages@stages.pack=encode_texts", "data=emoji64"]
        if text:
            settings[1:] = ["data=text_files", f"data.path={tmp_path}/a.txt", "data.chars_per_document=5"]
        settings += ["teacher=custom_language", f"teacher.path_or_id={teacher}"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", overrides=[*settings, f"paths.cache={tmp_path}/cache", "name=x", *overrides])
        OmegaConf.resolve(cfg)
        return instantiate(cfg.stages.pack, _recursive_=False), Context("pack", tmp_path / "run", cfg, {})

    return build


def test_the_stage_packs_the_text_into_the_cache(stage, tmp_path):
    kind, context = stage()
    kind.check(context.cfg)
    result = kind.run(context)
    folder = result.outputs["encoded"]
    assert folder.startswith(f"{tmp_path}/cache/tokens/")
    assert result.metrics["train"]["documents"] + result.metrics["held_out"]["documents"] == 90
    assert result.metrics["train"]["tokens"] == 3 * result.metrics["train"]["documents"]
    assert TokenDataModule(folder, 2, 0, length=6).size == result.metrics["train"]["documents"] // 2


def test_text_that_is_not_there_is_refused_before_any_work(stage):
    kind, context = stage("data.path=/none.txt")
    with pytest.raises(
        ValueError, match=r"path must be an existing file, folder or pattern of text, not '/none\.txt'\."
    ):
        kind.check(context.cfg)


def test_images_are_refused_before_any_work(stage):
    kind, context = stage(text=False)
    with pytest.raises(ValueError, match=r"data must be text for this, .* not emoji64\."):
        kind.check(context.cfg)


def test_a_teacher_without_a_tokenizer_is_refused(stage, teacher):
    (teacher / "tokenizer.json").unlink()
    kind, context = stage()
    with pytest.raises(
        ValueError, match=r"teacher must have a tokenizer, but .*teacher \(pretrained weights\) has none\."
    ):
        kind.run(context)


def test_random_weights_take_the_tokenizer_of_their_architectures_folder(stage, teacher):
    random = ["teacher.weights=random", f"teacher.architecture={teacher}"]
    kind, context = stage(*random)
    assert kind.run(context).metrics["train"]["documents"] > 0
    kind, context = stage(random[0], "teacher.architecture=llama_7b")
    with pytest.raises(ValueError, match=r"teacher must have a tokenizer, but .* \(random weights\) has none\."):
        kind.run(context)
