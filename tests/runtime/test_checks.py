import pytest
from omegaconf import OmegaConf

from ldc.runtime.checks import FLAGS, check_command, expand_home


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", ["no", 1, None])
def test_a_flag_is_true_or_false(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be true or false, not {value!r}"):
        check_command(OmegaConf.create({name: value}))


@pytest.mark.parametrize("outputs", [None, 5])
def test_outputs_need_a_folder(outputs):
    with pytest.raises(ValueError, match=f"^paths.outputs must be a folder, not {outputs}"):
        check_command(OmegaConf.create({"paths": {"outputs": outputs}}))


def test_commands_differ_in_their_flags():
    check_command(OmegaConf.create({"dry_run": True, "paths": {"outputs": "outputs"}}))
    check_command(OmegaConf.create({"debug": False}))


def test_a_home_folder_is_written_out_in_places_alone(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    cfg = OmegaConf.create(
        {"out": "~/a", "compare": None, "prompt": "~/b", "paths": {"outputs": "~"}, "scores": "a~/c"}
    )
    expand_home(cfg)
    assert cfg == {
        "out": "/home/ada/a",
        "compare": None,
        "prompt": "~/b",
        "paths": {"outputs": "/home/ada"},
        "scores": "a~/c",
    }
