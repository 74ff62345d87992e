import json

import pytest

from ldc.artifacts import Artifact, publish
from ldc.models.language import LanguageTeacher
from ldc.runtime.language_origin import lineage, made_of, origin

PACKED = {
    "model_type": "llama",
    "quantization_config": {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": {"group_0": {"weights": {"num_bits": 4}}},
    },
}


@pytest.fixture
def made(tmp_path):
    """`made(name, ...)`: a folder with a config.json and the artifact of a language student."""

    def make(name, parents=(), teacher=None, packed=False, kind="language_student", **metrics):
        folder = tmp_path / "run" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(PACKED if packed else {"model_type": "llama"}))
        config = {} if teacher is None else {"teacher": teacher}
        return publish(Artifact(folder, kind, f"id-{name}", parents, config=config, metrics=metrics))

    return make


def of(artifact):
    return origin(LanguageTeacher(str(artifact.folder)))


def test_a_model_that_nothing_is_known_of_is_its_own_origin(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert origin(LanguageTeacher(str(tmp_path))) == (str(tmp_path), None)
    assert origin(LanguageTeacher("pypi:a==1/b.gguf", quantised="Q4_1")) == ("pypi:a==1/b.gguf", "Q4_1")


def test_what_a_folder_says_is_handed_on_though_its_parent_is_gone(made):
    pruned = made("pruned", parent="/gone", origin="pypi:a==1/b.gguf", parent_quantised="Q4_1")
    assert of(pruned) == ("pypi:a==1/b.gguf", "Q4_1")
    assert made_of(LanguageTeacher(str(pruned.folder))) == {
        "parent": str(pruned.folder),
        "origin": "pypi:a==1/b.gguf",
        "parent_quantised": "Q4_1",
    }


def test_a_retrained_student_has_the_origin_of_the_one_that_lies_beside_it(made):
    teacher = {"path_or_id": "hub/id", "quantised": "Q4_1"}
    made("pruned", teacher=teacher, origin="hub/id", parent_quantised=None)  # such as with random weights
    assert of(made("retrained", ["id-pruned"], teacher)) == ("hub/id", None)


def test_a_student_of_an_older_run_has_the_origin_that_its_teacher_says(made):
    assert of(made("retrained", teacher={"path_or_id": "hub/id", "quantised": "Q4_1"})) == ("hub/id", "Q4_1")


def test_bits_are_added_in_the_order_in_which_weights_went_through_them(made):
    packed = made("packed", packed=True, origin="hub/id", parent_quantised="Q4_1")
    assert of(packed) == ("hub/id", "Q4_1, then 4 bits")
    assert of(made("retrained", ["id-packed"])) == ("hub/id", "Q4_1, then 4 bits")


def test_what_the_user_says_of_a_folders_weights_counts(made):
    folder = str(made("pruned", origin="hub/id", parent_quantised=None).folder)
    assert origin(LanguageTeacher(folder, quantised="Q8_0")).quantised == "Q8_0"


def test_random_weights_have_been_through_nothing(made):
    folder = str(made("packed", packed=True, parent_quantised="Q4_1").folder)
    assert origin(LanguageTeacher(folder, weights="random")).quantised is None


def test_a_lineage_goes_on_in_the_teachers_folder(made):
    first = made("first", removed_blocks=[4])
    second = made("second", [first.id], {"path_or_id": str(first.folder)})
    assert [one.id for one in lineage(made("third", [second.id], {"path_or_id": str(second.folder)}))] == [
        "id-third", "id-second", "id-first",
    ]  # fmt: skip


def test_a_teachers_folder_that_holds_another_model_now_is_not_followed(made):
    other = made("first", removed_blocks=[4])
    assert [one.id for one in lineage(made("second", ["id-before"], {"path_or_id": str(other.folder)}))] == [
        "id-second"
    ]


def test_folders_that_name_each_other_come_to_an_end(made, tmp_path):
    one = made("one", ["id-two"], {"path_or_id": str(tmp_path / "run" / "two")})
    made("two", ["id-before"], {"path_or_id": str(one.folder)})
    assert [each.id for each in lineage(one)] == ["id-one", "id-two"]


def test_a_folder_beside_that_cannot_be_read_is_passed_over(made, tmp_path):
    (tmp_path / "run" / "broken").mkdir(parents=True)
    (tmp_path / "run" / "broken" / "artifact.json").write_text("{")
    assert of(made("pruned", origin="hub/id", parent_quantised=None)).base == "hub/id"
