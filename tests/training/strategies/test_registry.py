import pytest
from lightning.pytorch.strategies import DDPStrategy

from ldc.training import strategies
from ldc.training.strategies.fsdp2 import Fsdp2
from ldc.training.strategies.sharded import Sharded
from ldc.training.strategies.zero import CpuZero


def test_an_object_passes():
    strategy = DDPStrategy()
    assert strategies.build(strategy) is strategy


@pytest.mark.parametrize("devices", [1, "1", [0], "0,", "auto"])
def test_auto_is_no_strategy_for_one_device(devices):
    assert strategies.build("auto", accelerator="cpu", devices=devices) == "auto"


@pytest.mark.parametrize("settings", [{"devices": 2}, {"devices": "0,1"}, {"devices": 1, "num_nodes": 2}])
def test_auto_is_ddp_for_more(settings):
    assert isinstance(strategies.build("auto", accelerator="cpu", **settings), DDPStrategy)


def test_names_are_built_with_timeout_and_backend():
    for name, kind in (("ddp", DDPStrategy), ("fsdp2", Fsdp2), ("deepspeed_zero3", CpuZero)):
        strategy = strategies.build(name, accelerator="cpu", devices=2, timeout_seconds=7)
        assert isinstance(strategy, kind)
        assert strategy._timeout.total_seconds() == 7
        assert strategy.process_group_backend == "gloo"


def test_the_stage_of_zero_is_that_of_the_name():
    stages = [strategies.build(f"deepspeed_zero{n}", accelerator="cpu").config["zero_optimization"] for n in (1, 2, 3)]
    assert [stage["stage"] for stage in stages] == [1, 2, 3]


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"strategy must be auto, ddp, ddp_fork, fsdp2, .* not 'fsdp'"):
        strategies.check("fsdp")


def test_a_timeout_that_is_no_time_is_refused():
    with pytest.raises(ValueError, match="timeout_seconds must be positive, not 0"):
        strategies.check("ddp", timeout_seconds=0)


@pytest.mark.parametrize("name", ["auto", "ddp", "deepspeed_zero3"])
def test_only_fsdp2_shards_a_teacher(name):
    with pytest.raises(ValueError, match=f"shard_teacher must be false with strategy '{name}'"):
        strategies.check(name, shard_teacher=True)
    strategies.check("fsdp2", shard_teacher=True)


@pytest.mark.parametrize("name", ["fsdp2", "deepspeed_zero1"])
def test_shards_take_no_gradient_scaler(name):
    with pytest.raises(ValueError, match="precision must be 32-true or bf16-mixed with strategy"):
        strategies.check(name, precision="16-mixed")
    strategies.check("ddp", precision="16-mixed")


def test_a_precision_that_is_unknown_is_refused_before_any_work():
    with pytest.raises(ValueError, match="precision must be 32-true, bf16-mixed or 16-mixed, not 'fp8'"):
        strategies.check("auto", precision="fp8")


def test_a_checkpoint_of_the_other_form_is_refused(tmp_path):
    file = tmp_path / "state.ckpt"
    file.touch()
    with pytest.raises(ValueError, match=r"one file for this strategy, but .* holds shards"):
        strategies.check_form(DDPStrategy(), tmp_path)
    with pytest.raises(ValueError, match=r"shards for this strategy, but .* is one file"):
        strategies.check_form(Sharded(), file)
    strategies.check_form(DDPStrategy(), file)
    strategies.check_form(Sharded(), tmp_path)
    strategies.check_form(Sharded(), None)
