import pytest
from omegaconf import OmegaConf

from ldc.runtime.launching.variants import label, variants


def of(array):
    return list(variants(OmegaConf.create(array)))


def test_keys_without_values_make_no_array():
    assert of({"seed": None, "run": None}) == []


def test_all_combinations_the_last_key_first():
    assert of({"seed": [0, 1], "pruner": ["a", "b"]}) == [
        {"seed": "0", "pruner": "a"},
        {"seed": "0", "pruner": "b"},
        {"seed": "1", "pruner": "a"},
        {"seed": "1", "pruner": "b"},
    ]


def test_nested_keys_are_dotted_and_values_are_what_hydra_reads():
    values = [1e-4, None, True, "it's, [a] text"]
    found = [entry["stages.distil.x"] for entry in of({"stages": {"distil": {"x": values}}})]
    assert found == ["0.0001", "null", "true", r"'it\'s, [a] text'"]


def test_a_label_has_nothing_that_a_path_minds():
    assert label({"stages.distil.optimizer.lr": "0.001", "pruner": "'a/b c'"}) == "lr0.001-pruner_a_b_c_"


@pytest.mark.parametrize("values", [3, [], "0,1"])
def test_values_must_be_a_list(values):
    with pytest.raises(ValueError, match=r"array\.seed must be a list of at least one value, not"):
        of({"seed": values})
