"""The doctor on the tiny teacher: each failed check is a line, estimates come out in numbers that add up."""

import json
from collections import namedtuple

import pytest
import torch
from omegaconf import OmegaConf

from ldc import doctor
from ldc.models import build_student, meta_unet
from ldc.profiling import macs, params
from ldc.pruning import BlockRemoval
from ldc.runtime import SummarisedError
from ldc.runtime.composing import train_config
from ldc.runtime.doctor import disk
from ldc.runtime.doctor.environment import look_for_devices
from ldc.runtime.doctor.estimates import Assumed, estimate, plan_fit
from ldc.runtime.doctor.examination import examine
from ldc.runtime.doctor.rehearsals import rehearse_fits
from ldc.runtime.run import prepare
from ldc.runtime.teachers import teacher_spec

GIB = 2**30
ROOMY = Assumed("roomy", tflops=100.0, memory_gb=80.0, utilisation=0.5, reserve=0.1)
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def composed(configured):
    """Composes conf/doctor.yaml from the arguments of a command line, with folders of the test."""
    return lambda *arguments: configured(*arguments, command="doctor")


@pytest.fixture
def planned(teacher_folder):
    """Plans a fit of the main experiment with the tiny teacher."""

    def plan(name, *arguments):
        cfg = train_config(["+experiment=lcm_bksdm", f"teacher={teacher_folder}", "data.size=32", *arguments])
        OmegaConf.resolve(cfg)
        return plan_fit(cfg, name)[0]

    return plan


def lines(summary, status):
    return [f"{line['check']}: {line['text']}" for line in summary["findings"] if line["status"] == status]


def test_a_run_that_can_start_is_summed_up_as_json(composed, teacher_folder):
    cfg = composed("+experiment=lcm_bksdm", f"teacher={teacher_folder}", "data.size=32")
    train = train_config(["+experiment=lcm_bksdm", f"teacher={teacher_folder}", "data.size=32"])
    train.paths = cfg.paths
    summary = json.loads(json.dumps(doctor.main.task(cfg)))
    assert summary["failed"] == 0
    assert summary["run"] == str(prepare(train).folder)  # the doctor's own settings do not rename the run
    assert [row["stage"] for row in summary["estimates"]] == ["distil", "few_step"]
    row = summary["estimates"][0]
    assert (row["steps"], row["samples"], row["ranks"]) == (300, 9600, 1)
    assert row["epochs"] == pytest.approx(9600 / 972)
    assert row["memory_gb"] == pytest.approx(sum(row["memory"].values()))
    assert row["gpu_hours"] == pytest.approx(300 * row["step_seconds"] / 3600)
    assert {line["check"] for line in summary["findings"]} >= {"config", "shards", "memory", "disk", "versions"}


def test_processes_of_the_shell_that_asks_are_not_the_runs(composed, teacher_folder, monkeypatch):
    for name, value in {"SLURM_NTASKS": "1", "SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "python"}.items():
        monkeypatch.setenv(name, value)
    cfg = composed("+experiment=lcm_bksdm", f"teacher={teacher_folder}", "data.size=32", "trainer.devices=4")
    assert doctor.main.task(cfg)["failed"] == 0


def test_every_failed_check_is_a_line_and_the_estimates_come_all_the_same(composed):
    cfg = composed(
        "+experiment=lcm_bksdm",
        "teacher=sd14",
        "data=laion",
        "data.path=/nowhere/{00000..00009}.tar",
        "trainer.devices=5",
        "stages.distil.publish=wrong",
        "stages.few_step.student=encode",
    )
    with pytest.raises(SummarisedError, match=r"checks must hold .*, but \d+ failed, the first: \S") as raised:
        doctor.main.task(cfg)
    summary = raised.value.summary
    failed = lines(summary, "failed")
    assert summary["failed"] == len(failed)
    for expected in (
        "shards must match at least one tar",
        "encode, prune, distil, few_step: teacher must be an existing folder or a hub id that can be reached",
        "distil: publish must be model or lcm",
        "batch_size, the samples of a step over all devices, must be divisible by 5 devices, not 32",
        "student must name a stage that makes student, not 'encode'",
    ):
        assert any(expected in line for line in failed), expected
    (row,) = summary["estimates"]  # few_step cannot be told from what encode makes
    assert row["params"] == 579_384_964
    assert (row["micro_batch_size"], row["samples"]) == (7, 300 * 35)


def test_a_device_that_is_not_listed_is_refused(composed):
    with pytest.raises(ValueError, match=r"device must be one of a100, .*, not 'a1000'"):
        examine(composed("+experiment=lcm_bksdm", "device=a1000"))


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("devices.a100.tflops=0", "^tflops must be a number above 0, not 0"),
        ("devices.a100.memory_gb=much", "^memory_gb must be a number above 0, not 'much'"),
        ("devices.a100=80", "^devices.a100 must have tflops and memory_gb, not 80"),
        ("~devices.a100.memory_gb", "^devices.a100 must have tflops and memory_gb, not {'tflops': 312}"),
    ],
)
def test_a_device_without_its_figures_is_refused(composed, word, sentence):
    with pytest.raises(ValueError, match=sentence):
        examine(composed("+experiment=lcm_bksdm", word))


@pytest.mark.parametrize("word", ["student=nothing", "student=few_step", "encoded=nothing"])
def test_a_fit_that_takes_what_no_earlier_stage_makes_is_a_line(composed, teacher_folder, word):
    words = [f"teacher={teacher_folder}", "data.size=32", f"stages.few_step.{word}"]
    summary = examine(composed("+experiment=lcm_bksdm", *words))
    assert any("which no earlier stage makes" in line for line in lines(summary, "failed"))
    assert "distil" in [row["stage"] for row in summary["estimates"]]


def test_sizes_are_those_of_the_networks_to_the_byte(planned):
    plan = planned("distil", "pruner=bksdm_tiny", "stages.distil.averaging=0.99")
    found = estimate(plan, None, ROOMY)
    teacher = meta_unet(plan.networks.spec)
    student = build_student(teacher, BlockRemoval("tiny").plan(teacher))
    size, count = 4 * params(student), len(list(student.parameters()))
    assert (found.memory.weights, found.memory.gradients, found.memory.average) == (size, size, size)
    assert found.memory.moments == 2 * size + 4 * count  # and AdamW counts the steps of each tensor
    assert found.memory.teacher == 4 * params(teacher)
    assert found.checkpoint == size + found.memory.moments + size
    assert found.row["epochs"] is None


def test_a_target_and_a_teacher_in_half_precision_are_counted_as_they_are(planned):
    found = estimate(planned("few_step", "trainer.teacher_dtype=bfloat16"), None, ROOMY)
    assert found.memory.target == found.memory.weights
    assert found.memory.teacher == 2 * params(meta_unet(found.plan.networks.spec))


def test_a_step_computes_the_teacher_once_and_the_student_three_times(planned):
    plan = planned("distil")
    spec = plan.networks.spec
    teacher, student = (macs(unet, 8, 24)["macs"] for unet in (meta_unet(spec), plan.networks.student))
    found = plan.step().macs / plan.how.batch_size
    assert found == pytest.approx(teacher + 3 * student, rel=0.02)  # attention's backward pass repeats a product


def test_time_follows_from_operations_and_the_assumed_rate(planned):
    plan = planned("distil", "stages.distil.micro_batch_size=8")
    row = estimate(plan, None, ROOMY).row
    assert (row["micro_batch_size"], row["accumulate"]) == (8, 4)
    assert row["step_seconds"] == pytest.approx(2e12 * row["tmacs_per_step"] / (0.5 * 100e12))
    assert row["tmacs_per_step"] == pytest.approx(4 * plan.step().macs / 1e12)


def test_lora_trains_its_adapters_alone_and_holds_one_copy(teacher_folder):
    cfg = train_config(["+experiment=lcm_lora", f"teacher={teacher_folder}", "data.size=32"])
    OmegaConf.resolve(cfg)
    found = estimate(plan_fit(cfg, "few_step")[0], None, ROOMY)
    assert found.memory.teacher == 0
    assert 0 < found.memory.gradients < found.memory.weights - 4 * params(meta_unet(teacher_spec(cfg.teacher))) + 1


def test_what_is_encoded_while_training_takes_memory_and_work(planned):
    cached, online = planned("distil"), planned("distil", "encoded=null", "~stages.encode")
    less, more = cached.step(), online.step()
    assert less.encoders == 0 < more.encoders
    assert less.encode < more.encode
    assert less.macs < more.macs


def test_a_fit_without_room_is_told_what_to_try_in_order(planned):
    words = ("trainer=ddp", "trainer.devices=2", "trainer.gradient_checkpointing=false", "stages.distil.batch_size=8")
    plan = planned("distil", *words)
    whole = plan.memory(plan.step()).total / GIB
    found = estimate(plan, None, Assumed("small", 100.0, whole, 0.5, 0.1))
    assert not found.row["fits"]
    (warning,) = found.findings
    assert warning.status == "warning"
    tried = warning.text.partition("In this order, each with those before: ")[2].split("; then ")
    assert tried[0].startswith("trainer.gradient_checkpointing=true (")


def test_the_last_resort_is_sharding(planned):
    plan = planned("distil", "trainer=ddp", "trainer.devices=2", "stages.distil.batch_size=2")
    found = estimate(plan, None, Assumed("none", 100.0, 1e-6, 0.5, 0.1))
    assert "trainer=fsdp2 (" in found.findings[0].text


def test_a_fit_that_nothing_would_make_room_for_is_told_so(planned):
    words = ("trainer.gradient_checkpointing=true", "trainer.teacher_dtype=bfloat16", "stages.distil.batch_size=1")
    found = estimate(planned("distil", *words), None, Assumed("none", 100.0, 1e-6, 0.5, 0.1))
    assert found.findings[0].text.endswith("free. All that would make room is done already")


@pytest.mark.parametrize(("word", "is_warned"), [("trainer.devices=-1", True), ("trainer.devices=8", False)])
def test_all_gpus_of_a_node_without_any_are_one_with_a_warning(monkeypatch, word, is_warned):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    found = look_for_devices(train_config(["+experiment=bksdm", "trainer=ddp", word]))
    assert any("taken as one here" in finding.text for finding in found) is is_warned


def test_a_full_disk_stops_a_run_before_it_starts(composed, teacher_folder, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: Usage(1, 1, 1000))
    summary = examine(composed("+experiment=bksdm", f"teacher={teacher_folder}", "data.size=32"))
    (line,) = [line for line in lines(summary, "failed") if line.startswith("disk")]
    assert "distil's 3 checkpoints" in line
    assert "prune's student" in line
    assert "encode's cache" in line


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_a_step_is_taken_as_one_of_sixty_four_ranks(planned, teacher_folder, strategy):
    words = ["trainer.devices=64", f"trainer.strategy={strategy}", "stages.few_step.batch_size=64"]
    cfg = train_config(["+experiment=lcm_bksdm", f"teacher={teacher_folder}", "data.size=32", *words])
    OmegaConf.resolve(cfg)
    (finding,) = rehearse_fits(cfg, [planned("few_step", *words)])
    assert finding.status == "ok", finding.text
    assert f"{strategy}, 64 ranks" in finding.text
