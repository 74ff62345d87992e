import os
import sys

import pytest

from ldc.runtime.entry import entry_point
from ldc.runtime.paths import CONF
from ldc.training import Interrupted
from ldc.training.heartbeat import LostRankError

TEXT = """it's a "red", (round) apple = ${price} {x} [y] \\ 🍏"""


@entry_point("generate")
def says_its_prompt(cfg):
    print("a library's chatter")  # noqa: T201
    os.write(1, b"and that of a program\n")
    return {"prompt": cfg.prompt, "seed": cfg.seed, "arguments": sys.argv[1:]}


@entry_point("train")
def takes_all(cfg):
    path = cfg.data.path
    return {"stage": cfg.stage, "resume": cfg.resume, "path": list(path) if path is not None else None}


def failing(error):
    @entry_point("generate")
    def fails(cfg):
        raise error

    return fails


def test_stdout_is_the_summary_alone_and_any_text_is_a_prompt(command):
    said = command(says_its_prompt, f"prompt={TEXT}")
    assert said.summary["prompt"] == TEXT
    assert "a library's chatter" in said.err


def test_a_task_sees_the_users_own_arguments_so_that_helpers_can_be_started_with_them(command):
    assert command(says_its_prompt, f"prompt={TEXT}").summary["arguments"] == [f"prompt={TEXT}"]


def test_a_helper_process_prints_nothing(command, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    said = command(says_its_prompt, "prompt=x")
    assert (said.code, said.out) == (0, [])


def test_a_sweep_prints_a_line_a_job(command, tmp_path):
    said = command(says_its_prompt, f"paths.outputs={tmp_path}", "seed=1,2", "-m", "prompt=a,b")
    assert ['"seed": 1' in said.out[0], '"seed": 2' in said.out[1], len(said.out)] == [True, True, 2]


def test_a_lost_rank_is_no_error_of_the_user_and_has_an_exit_code_of_its_own(command):
    said = command(failing(LostRankError("all ranks must live, but rank 3 does not.")))
    assert (said.code, said.err[-1]) == (os.EX_TEMPFAIL, "all ranks must live, but rank 3 does not.")


def test_an_error_is_one_sentence_and_with_debug_a_traceback_too(command, refused):
    assert refused(failing(ValueError("steps must be\nat least 1, not 0."))) == "steps must be at least 1, not 0."
    said = command(failing(ValueError("No.")), "debug=true")
    assert (said.code, said.err[-1]) == (2, "No.")
    assert any("Traceback" in line for line in said.err)


def test_a_file_that_cannot_be_written_is_a_users_error(refused):
    assert refused(failing(PermissionError(13, "Permission denied", "/x.png"))).endswith("'/x.png'")


def test_a_bug_is_no_users_error(command, capfd, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ldc"])
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())()
    os.write(1, b"back")  # stdout is itself again
    assert capfd.readouterr().out == "back"


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (Interrupted(143), 143)])
def test_an_interrupted_command_says_that_it_can_go_on(command, stop, code):
    said = command(failing(stop))
    assert (said.code, said.out) == (code, [])
    assert said.err[-1] == "Interrupted: the same command goes on from here."


@pytest.mark.parametrize("option", ["--help", "--cfg=job"])
def test_help_and_config_go_to_stdout(command, option):
    said = command(takes_all, option)
    assert said.code == 0
    assert any("teacher" in line for line in said.out)


def test_help_names_the_options_of_each_group(command):
    text = "\n".join(command(takes_all, "--help").out)
    assert "pruner: bksdm_base, bksdm_small, bksdm_tiny" in text
    assert "experiment: " in text


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "base"))
def test_the_help_of_every_command_says_how_the_composed_config_is_shown(command, name):
    said = command(entry_point(name)(lambda _: {}), "--help")
    assert any("add --cfg job" in line for line in said.out)


def test_a_stage_is_chosen_by_name_and_paths_may_be_null_or_lists(command):
    said = command(takes_all, "+experiment=lcm_bksdm", "stage=distil", "resume=null", "data.path=[a.tar,b.tar]")
    assert said.summary == {"stage": "distil", "resume": None, "path": ["a.tar", "b.tar"]}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["dry_rnu=true"], "Key 'dry_rnu' is not in the config; did you mean 'dry_run'."),
        (
            ["+experiment=lcm_bksdm", "stages.distil.max_step=3"],
            "Key 'stages.distil.max_step' is not in the config; did you mean 'stages.distil.max_steps'.",
        ),
        (
            ["pruner=bksdm_tin"],
            "koala_700m, llm_pruner, none, wanda_sp, not 'bksdm_tin'; did you mean 'bksdm_tiny'.",
        ),
        (["+experiment=lcm_bksd"], "lcm_bksdm"),
        (["experiment=lcm_bksdm"], "experiment must be added, as +experiment=NAME."),
        (["+experiment=lcm_bksdm", "objective=denoising"], "as in objective@stages.distil.objective=OPTION."),
        (["data=folder", "+experiment=lcm_bksdm"], "data.path must be given, as data.path=VALUE."),
        (
            ["+experiment=lcm_bksdm", "+stages.distil.max_step=3"],
            "Key 'stages.distil.max_step' is not a setting of Fit",
        ),
        (
            ["+experiment=lcm_bksdm", "stages.distil.max_steps=many"],
            "stages.distil.max_steps must be a whole number, not 'many'.",
        ),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_allowed(refused, arguments, sentence):
    assert sentence in refused(takes_all, *arguments)
