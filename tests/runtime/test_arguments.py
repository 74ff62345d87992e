import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from ldc.runtime.arguments import legalise, quote
from ldc.runtime.paths import CONF

TEXTS = [
    "red apple in noto style",
    "an apple, a pear, and a plum",
    'the cat\'s "best" hat',
    "f(x) = {y: [1, 2]}",
    "a=b",
    "cost: ${price} or \\${price} or \\\\${x}",
    "ends in a backslash \\",
    "it\\'s",
    "  spaces  ",
    "null",
    "1e3",
    "grüne Äpfel 🍏 # not a comment",
    "'quoted'",
    "?=&*|<>!%@~^;:",
]


@pytest.mark.parametrize("text", TEXTS)
def test_quoted_text_reaches_the_config_unchanged(text):
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        cfg = compose("generate", overrides=[f"prompt={quote(text)}"])
    assert cfg.prompt == text


def test_every_free_text_key_is_quoted_and_others_are_left_alone():
    legal = legalise(["student=a,b", "steps=2", "--cfg", "job", "out=x (1).png"], CONF)
    assert legal == ["student='a,b'", "steps=2", "--cfg", "job", "out='x (1).png'"]
    OverridesParser.create().parse_overrides([legal[0], legal[1], legal[4]])


def test_a_teacher_folder_becomes_the_custom_teacher(tmp_path):
    folder = tmp_path / "my, model"
    folder.mkdir()
    assert legalise([f"teacher={folder}"], CONF) == ["teacher=custom", f"teacher.path_or_id={quote(str(folder))}"]


def test_a_teacher_name_stays_a_config_group():
    assert legalise(["teacher=sd14"], CONF) == ["teacher=sd14"]
    assert legalise(["teacher=sd41"], CONF) == ["teacher=sd41"]
