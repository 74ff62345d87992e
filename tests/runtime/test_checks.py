import pytest
from omegaconf import OmegaConf

from ldc.runtime.checks import FLAGS, check_command, expand_home, refuse_mixing


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


def test_a_home_folder_is_written_out_in_places_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    cfg = OmegaConf.create(
        {"out": "~/a", "compare": None, "prompt": "~/b", "paths": {"outputs": "~"}, "scores": "a~/c"}
    )
    expand_home(cfg)
    assert cfg == {
        "out": str(tmp_path / "a"),
        "compare": None,
        "prompt": "~/b",
        "paths": {"outputs": str(tmp_path)},
        "scores": "a~/c",
    }


def test_a_student_does_not_go_into_a_folder_with_a_model_of_the_other_kind(tmp_path):
    (tmp_path / "model_index.json").touch()
    refuse_mixing(str(tmp_path), "config.json")
    refuse_mixing(None, "model_index.json")
    with pytest.raises(
        ValueError, match=r"out must be a folder without a model of another kind, and .* has a model_index"
    ):
        refuse_mixing(str(tmp_path), "model_index.json")
