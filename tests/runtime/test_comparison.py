import json

import pytest

from ldc.runtime.comparison import comparison_table, differences, read_measurement, tell_sampling

THIS = {"params": 80, "ppl a": 30.5, "acc": 0.5, "acc low": 0.4, "acc high": 0.6, "chance": 0.25, "boolq": "not run"}
THAT = {"params": 100, "ppl a": 20.0, "acc": 0.6, "acc low": 0.5, "acc high": 0.7, "chance": 0.25, "boolq": 0.5}


@pytest.fixture
def other():
    return {"student": "parent", "metrics": THAT, "stamp": {}}


def test_a_difference_is_this_minus_that_of_the_figures_of_models_alone(other):
    assert differences(THIS, other) == {
        "difference": {"params": -20, "ppl a": 10.5, "acc": pytest.approx(-0.1)},
        "difference_is": "this minus that, which is parent",
    }


def test_figures_of_the_data_and_spreads_have_no_difference():
    before = {"kid": 0.5, "kid_std": 0.1, "nearest_training_real": 0.2}
    told = differences({"kid": 0.75, "kid_std": 0.2, "nearest_training_real": 0.2}, {"student": "a", "metrics": before})
    assert told["difference"] == {"kid": 0.25}


def test_the_table_names_both_models_and_the_sign(other):
    head, _, *lines = comparison_table("student", THIS, other).splitlines()
    assert head == "| figure | this: student | that: parent | this minus that |"
    assert "| params | 80 | 100 | -20 |" in lines
    assert "| ppl a | 30.5 | 20 | 10.5 |" in lines
    assert "| chance | 0.25 | 0.25 |  |" in lines
    assert "| boolq | not run | 0.5 |  |" in lines


def test_a_model_compared_with_an_earlier_state_of_itself_has_both_columns(other):
    assert comparison_table("parent", THIS, other).startswith("| figure | this: parent | that: parent |")


def test_a_measurement_that_names_no_model_is_named_by_its_file(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"metrics": {}, "stamp": {}}))
    assert read_measurement(str(path))["student"] == str(path)


def test_steps_and_guidance_stand_first_without_a_difference():
    other = {"student": "parent", "steps": 25, "guidance_scale": 3.0, "metrics": {"kid": 0.25}}
    _, _, *lines = comparison_table("s", {"kid": 0.5}, other, {"steps": 4, "guidance_scale": 3.0}).splitlines()
    assert lines[:2] == ["| steps | 4 | 25 |  |", "| guidance_scale | 3 | 3 |  |"]


@pytest.mark.parametrize(
    ("steps", "scale", "said"),
    [(4, 3.0, []), (25, 3.0, ["steps 25, not 4"]), (25, 1.0, ["steps 25, not 4 and guidance_scale 1.0, not 3.0"])],
)
def test_a_comparison_across_other_steps_or_guidance_is_said(caplog, steps, scale, said):
    tell_sampling({"steps": 4, "guidance_scale": 3.0}, {"student": "a", "steps": steps, "guidance_scale": scale})
    assert caplog.messages == [f"compare was measured with {text}." for text in said]
