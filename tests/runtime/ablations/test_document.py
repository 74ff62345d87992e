"""The document of an ablation, from results that were not run."""

import pytest
from hydra import compose, initialize_config_dir

from ldc.runtime import CONF
from ldc.runtime.ablations import write_document

FIGURE = {"value": 0.5, "low": 0.4, "high": 0.6, "seeds": [0.5]}
ROW = {"steps": 25, "guidance": 3.0, "params": 1, "unet_passes": 50, "kid": FIGURE, "fidelity_top1": FIGURE}
DIFFERENCE = {"value": -0.25, "low": -0.5, "high": -0.125, "seeds": [-0.25]}


@pytest.fixture
def cfg():
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("ablate", overrides=["ablation=bksdm"])


def entry(label, row, against=None, **more):
    expect = {"kid": "better", "fidelity_top1": "worse"}
    return {"label": label, "row": row, "against": against, "expect": expect, "best_of": [row], **more}


@pytest.fixture
def found():
    compared = {
        "difference": {"kid": DIFFERENCE, "fidelity_top1": DIFFERENCE},
        "verdict": {"kid": "yes", "fidelity_top1": "no"},
    }
    rows = [
        entry("one", "random/student") | {"best_of": ["random/student", "random/unguided"]},
        entry("two", "task/student", "random/student", **compared),
        entry("three", None),
        entry("four", "task/student", difference={}, verdict={}),
    ]
    return {
        "seeds": [0],
        "num_images": 8,
        "replicates": 10,
        "stamps": [],
        "rows": {"random/student": ROW, "task/student": ROW},
        "tables": [{"title": "Losses", "source": None, "rows": rows}],
        "commands": {"random": "python -m ldc.train"},
    }


def test_rows_say_figures_differences_and_verdicts_or_that_they_were_not_measured(cfg, found, tmp_path):
    lines = write_document(cfg, found, tmp_path / "results.md").read_text().splitlines()
    figure, difference = "0.500 [0.400, 0.600]", "-0.250 [-0.500, -0.125]"
    paper = "better by KID, worse by caption fidelity top 1"
    table = [line for line in lines if line.startswith("| ")][1:]
    assert table == [
        f"| one (guidance 3) | {figure} | {figure} |  |  |  |  |  |  |",
        f"| two | {figure} | {figure} | one (guidance 3) | {difference} | {difference} | {paper} | yes | no |",
        "| three | not measured |  |  |  |  |  |  |  |",
        f"| four | {figure} | {figure} | not measured |  |  |  |  |  |",
    ]


def test_one_seed_is_said_to_leave_training_out(cfg, found, tmp_path):
    text = write_document(cfg, found, tmp_path / "results.md").read_text()
    assert "One training seed, 0: the intervals do not cover what another training run would give." in text
    assert "widened" not in text


def test_several_seeds_are_said_to_widen_the_intervals(cfg, found, tmp_path):
    text = write_document(cfg, found | {"seeds": [0, 1]}, tmp_path / "results.md").read_text()
    assert "(10 replicates) and widened by the seeds' deviation" in text


def test_a_row_is_named_as_its_own_table_names_it(cfg, found, tmp_path):
    (first,) = found["tables"]
    again = [entry("uno", "random/student"), first["rows"][1]]
    found["tables"].append({"title": "Again", "source": None, "rows": again})
    lines = write_document(cfg, found, tmp_path / "results.md").read_text().splitlines()
    named = [line.split(" | ")[3] for line in lines if line.startswith("| two")]
    assert named == ["one (guidance 3)", "uno"]


def test_the_command_that_makes_all_rows_names_the_ablation(cfg, found, tmp_path):
    text = write_document(cfg, found, tmp_path / "results.md").read_text()
    assert "`python -m ldc.ablate ablation=bksdm` runs them all" in text


def test_only_the_own_section_is_replaced(cfg, found, tmp_path):
    path = tmp_path / "results.md"
    path.write_text("Mine.\n\n<!-- ablation lcm -->\nother\n<!-- end of ablation lcm -->\n")
    write_document(cfg, found, path)
    once = path.read_text()
    write_document(cfg, found, path)
    assert path.read_text() == once
    assert once.startswith("Mine.\n\n<!-- ablation lcm -->\nother\n<!-- end of ablation lcm -->\n\n<!-- ablation bksdm")
    assert once.endswith("<!-- end of ablation bksdm -->\n")


def test_a_section_at_the_end_of_a_file_without_a_last_newline_is_replaced(cfg, found, tmp_path):
    path = write_document(cfg, found, tmp_path / "results.md")
    text = path.read_text()
    path.write_text(text.rstrip("\n"))
    write_document(cfg, found, path)
    assert path.read_text() == text


def test_a_section_without_its_end_is_refused_and_left_alone(cfg, found, tmp_path):
    path = tmp_path / "results.md"
    path.write_text("<!-- ablation bksdm -->\nold\n\nMine.\n")
    with pytest.raises(ValueError, match="must close the section of ablation 'bksdm'"):
        write_document(cfg, found, path)
    assert path.read_text() == "<!-- ablation bksdm -->\nold\n\nMine.\n"
