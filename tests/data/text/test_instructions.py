"""Instructions with answers: records, prompts, and tokens with loss on the answers alone."""

import json
from pathlib import Path

import pytest
from tokenizers.processors import TemplateProcessing

from ldc.data.text.glosses import gloss_questions
from ldc.data.text.instructions import Instruction, Instructions, InstructionTokens, Template

ASSETS = Path(__file__).parents[3] / "assets" / "glosses"
SHORT = Template(with_input="{instruction} : {input} .", without_input="{instruction} .")


def write(path, records):
    path.write_text(json.dumps(records))
    return Instructions(path)


def tokens(tokenizer, instructions, cutoff=256):
    return InstructionTokens(instructions, tokenizer, cutoff, SHORT)


def test_an_instruction_with_input_has_the_longer_prompt():
    template = Template()
    with_input = template.prompt(Instruction("Add {them}.", "1 and {input}", "x"))
    assert with_input.startswith("Below is an instruction that describes a task, paired with an input")
    assert with_input.endswith("### Instruction:\nAdd {them}.\n\n### Input:\n1 and {input}\n\n### Response:\n")
    assert template.prompt(Instruction("Add.", "", "x")).endswith("### Instruction:\nAdd.\n\n### Response:\n")


def test_a_json_list_and_a_jsonl_hold_the_same_records(tmp_path):
    records = [{"instruction": "a", "input": "b", "output": "c"}, {"instruction": "d", "output": "e"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    expected = [Instruction("a", "b", "c"), Instruction("d", "", "e")]
    assert write(tmp_path / "a.json", records).records() == expected
    assert Instructions(tmp_path / "a.jsonl").records() == expected


def test_without_a_path_words_are_explained_that_no_question_asks_for():
    records = Instructions(glosses=ASSETS).records()
    asked = {question.word for question in gloss_questions(ASSETS)}
    assert len(records) > 2000
    assert not {record.instruction.split('"')[1] for record in records} & asked
    assert any(record.instruction.startswith("What does the noun") for record in records)


def test_loss_is_taken_on_the_answer_and_its_eos_alone(tiny_tokenizer):
    ids, labels = tokens(tiny_tokenizer, [Instruction("a b", "c", "some words")])[0]
    assert tiny_tokenizer.decode(ids) == "<s> a b : c . some words </s>"
    assert labels.tolist() == [-100] * 6 + tiny_tokenizer("some words</s>", add_special_tokens=False)["input_ids"][
        :2
    ] + [2]


def test_an_answer_that_ends_with_eos_gets_no_second_one(make_tokenizer):
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.add_special_tokens(["</s>"])
    ids, _ = tokens(tokenizer, [Instruction("a", "", "b </s>")])[0]
    assert ids.tolist().count(2) == 1


def test_a_tokenizer_that_ends_every_text_with_eos_changes_nothing(make_tokenizer):
    tokenizer = make_tokenizer()
    instructions = [Instruction("a b", "c", "some words")]
    [(ids, labels)] = tokens(tokenizer, instructions)
    special = [("<s>", 1), ("</s>", 2)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=special)
    assert tokenizer("a")["input_ids"][-1] == 2
    [(own_ids, own_labels)] = tokens(tokenizer, instructions)
    assert own_ids.tolist() == ids.tolist()
    assert own_labels.tolist() == labels.tolist()


def test_a_long_text_is_cut_without_eos(tiny_tokenizer):
    ids, labels = tokens(tiny_tokenizer, [Instruction("a", "", "b c d " * 9)], cutoff=6)[0]
    assert tiny_tokenizer.decode(ids) == "<s> a . b c d"
    assert labels[:3].tolist() == [-100] * 3
    assert labels[3:].tolist() == ids[3:].tolist()


def test_an_instruction_whose_answer_is_cut_away_is_left_out(tiny_tokenizer):
    made = tokens(tiny_tokenizer, [Instruction("a " * 9, "", "b"), Instruction("a", "", "c")], cutoff=6)
    assert (len(made), made.left_out) == (1, 1)
    assert tiny_tokenizer.decode(made[0][0]) == "<s> a . c </s>"
    with pytest.raises(
        ValueError, match=r"an instruction must leave room for its answer within 6 tokens, but none does"
    ):
        tokens(tiny_tokenizer, [Instruction("a " * 9, "", "b")], cutoff=6)


def test_a_tokenizer_without_eos_is_refused(make_tokenizer):
    with pytest.raises(ValueError, match=r"the tokenizer must have an EOS token to end answers, but it has none\."):
        tokens(make_tokenizer(eos=None), [Instruction("a", "", "b")])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            '[{"instruction": "a", "output": "b"}, {"text": "c"}]',
            r"under instruction and output in .* but record 2 has not",
        ),
        ('[{"instruction": "a", "output": " "}]', r"but record 1 has not"),
        ('[{"instruction": "a", "output": 3}]', r"but record 1 has not"),
        ('["a"]', r"but record 1 has not"),
        ("[{", r"must be a json list or jsonl of instructions, but it is not"),
        ("", r"path must hold at least one instruction, but '.*' has none\."),
    ],
)
def test_files_of_something_else_are_refused(tmp_path, content, sentence):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=sentence):
        Instructions(tmp_path / "a.json").records()


def test_a_file_that_is_not_there_is_refused_before_it_is_read(tmp_path):
    with pytest.raises(
        ValueError, match=r"path must be an existing json or jsonl of instructions, not '.*none\.json'\."
    ):
        Instructions(tmp_path / "none.json").check()


def test_a_template_without_places_is_refused():
    with pytest.raises(ValueError, match=r"template must have \{instruction\} in it, and with_input \{input\}, too"):
        Instructions(glosses=ASSETS, template={"with_input": "{instruction}", "without_input": "{instruction}"}).check()


def test_a_folder_without_words_is_refused_before_any_work(tmp_path):
    with pytest.raises(ValueError, match=r"glosses must be a folder with words\.jsonl\.gz, not '"):
        Instructions(glosses=tmp_path).check()
