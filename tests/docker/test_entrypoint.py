import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = re.search(r'COMMANDS="(.*)"', (ROOT / "docker" / "entrypoint.sh").read_text())[1].split()


def test_no_arguments_show_the_help_of_train(box):
    entered = box.enter()
    assert (entered.code, entered.program, entered.arguments) == (0, "python", ["-m", "ldc.train", "--help"])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_ldc_is_run_as_its_module(box, command):
    assert box.enter(command, "a=1").arguments == ["-m", f"ldc.{command}", "a=1"]


def test_every_entry_point_is_a_command():
    entry_points = {path.stem for path in (ROOT / "ldc").glob("*.py") if "@runtime.entry_point" in path.read_text()}
    assert entry_points <= set(COMMANDS)


def test_arguments_arrive_as_they_were_given(box):
    words = ["prompt=a, b (c) 'd' \"e\" = $HOME *", "", "two\nlines"]
    assert box.enter("generate", *words).arguments[2:] == words


def test_any_other_first_word_is_a_program(box):
    box.stub("report", (box.folder / "bin" / "python").read_text())
    entered = box.enter("report", "train", "b")
    assert (entered.program, entered.arguments) == ("report", ["train", "b"])


def test_a_first_word_that_is_no_program_is_refused_in_a_sentence(box):
    entered = box.enter("+experiment=bksdm")
    assert entered.code == 2
    assert entered.stderr.endswith("doctor, sweep, not '+experiment=bksdm'.\n")


def test_the_exit_code_is_the_programs(box):
    assert box.enter("bash", "-c", "exit 143").code == 143


def test_a_well_equipped_machine_gets_no_message(box):
    assert not box.enter("train").stderr


# The machine


@pytest.mark.parametrize("command", ["train", "evaluate", "sweep"])
def test_a_missing_gpu_is_told(box, command):
    box.stub("nvidia-smi", "#!/bin/bash\necho 'No devices were found'\nexit 6\n")
    assert "no GPU is visible" in box.enter(command).stderr


@pytest.mark.parametrize(
    "words", [("train", "trainer=cpu"), ("doctor",), ("launch",), ("prepare",), ("bash", "-c", ":")]
)
def test_a_missing_gpu_is_not_told_where_none_is_needed(box, words):
    box.stub("nvidia-smi", "#!/bin/bash\nexit 6\n")
    assert not box.enter(*words).stderr


def test_little_shared_memory_is_told_with_the_option_that_gives_more(box):
    box.stub("df", "#!/bin/bash\nprintf 'Filesystem 1024-blocks Used\\nshm 65536 0\\n'\n")
    stderr = box.enter("train").stderr
    assert "/dev/shm has 64 MB" in stderr  # noqa: S108
    assert "--shm-size" in stderr


def test_one_task_of_a_node_warns_for_all(box):
    box.stub("nvidia-smi", "#!/bin/bash\nexit 6\n")
    assert not box.enter("train", SLURM_LOCALID="3").stderr


# Several processes


@pytest.mark.parametrize("name", ["LDC_NPROC", "NPROC"])
def test_several_processes_are_started_by_torchrun(box, name):
    arguments = box.enter("train", "a=1", **{name: "8"}).arguments
    assert arguments[:5] == ["-m", "torch.distributed.run", "--nproc-per-node", "8", "--standalone"]
    assert arguments[-5:] == ["-m", "ldc.train", "trainer.num_nodes=1", "trainer.devices=8", "a=1"]


def test_ldc_nproc_goes_before_nproc(box):
    assert box.enter("train", LDC_NPROC="2", NPROC="4").arguments[3] == "2"


def test_one_process_a_gpu_leaves_the_number_of_devices_to_the_trainer(box):
    arguments = box.enter("train", LDC_NPROC="gpu").arguments
    assert arguments[3] == "gpu"
    assert "trainer.devices" not in " ".join(arguments)


def test_torchrun_takes_part_in_several_nodes(box):
    nodes = {"NNODES": "4", "NODE_RANK": "2", "MASTER_ADDR": "node0", "MASTER_PORT": "1234"}
    arguments = box.enter("train", LDC_NPROC="8", **nodes).arguments
    assert "--nnodes 4 --node-rank 2 --master-addr node0 --master-port 1234" in " ".join(arguments)
    assert "trainer.num_nodes=4" in arguments
    assert "--standalone" not in arguments


def test_slurm_tells_the_rank_of_the_node(box):
    nodes = {"NNODES": "2", "SLURM_NODEID": "1", "MASTER_ADDR": "node0"}
    assert "--node-rank 1" in " ".join(box.enter("train", LDC_NPROC="8", **nodes).arguments)


@pytest.mark.parametrize(
    ("variables", "subject"),
    [
        ({"LDC_NPROC": "eight"}, "LDC_NPROC"),
        ({"LDC_NPROC": "0"}, "LDC_NPROC"),
        ({"LDC_NPROC": "8", "NNODES": "two"}, "NNODES"),
        ({"LDC_NPROC": "8", "NNODES": "2", "MASTER_ADDR": "node0"}, "NODE_RANK"),
        ({"LDC_NPROC": "8", "NNODES": "2", "NODE_RANK": "0"}, "MASTER_ADDR"),
    ],
)
def test_numbers_of_processes_that_do_not_fit_are_refused_in_a_sentence(box, variables, subject):
    entered = box.enter("train", **variables)
    assert (entered.code, entered.program) == (2, "")
    assert entered.stderr.startswith(f"ldc: {subject} must be ")


def test_a_command_that_runs_as_one_process_says_that_it_ignores_the_number(box):
    entered = box.enter("generate", LDC_NPROC="8")
    assert entered.arguments == ["-m", "ldc.generate"]
    assert "LDC_NPROC is ignored" in entered.stderr


def test_in_a_task_of_srun_nproc_starts_nothing(box):
    entered = box.enter("train", NPROC="8", SLURM_PROCID="3")
    assert entered.arguments == ["-m", "ldc.train"]
    assert "NPROC is ignored" in entered.stderr


def test_torchrun_may_be_the_one_task_of_a_node(box):
    assert box.enter("train", LDC_NPROC="8", SLURM_PROCID="0").arguments[3] == "8"


def test_variables_of_a_launcher_pass_through(box):
    given = {"RANK": "3", "WORLD_SIZE": "16", "NCCL_DEBUG": "INFO", "SLURM_PROCID": "3", "WANDB_RUN_ID": "abc"}
    assert given.items() <= box.enter("train", **given).variables.items()
