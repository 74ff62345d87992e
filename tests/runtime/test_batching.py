import pytest

from ldc.runtime.batching import Shares, num_devices, planning, shares, world_size
from ldc.runtime.fingerprint import relevant

TRAINER = {"accelerator": "cpu", "devices": 2, "num_nodes": 3}


def test_a_step_s_batch_is_divided_among_ranks_and_micro_batches():
    assert shares(256, 16, 8) == Shares(16, 2)


def test_without_a_micro_batch_a_rank_takes_its_share_at_once():
    assert shares(256, None, 8) == Shares(32, 1)


def test_a_batch_that_the_ranks_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="must be divisible by 3 devices, not 32"):
        shares(32, None, 3)


def test_a_micro_batch_that_does_not_divide_a_share_is_refused():
    with pytest.raises(ValueError, match=r"share of batch_size, 32 / 2 = 16, not 5"):
        shares(32, 5, 2)


@pytest.mark.parametrize(("sizes", "name"), [((0, None), "batch_size"), ((4, 0), "micro_batch_size")])
def test_sizes_below_one_are_refused(sizes, name):
    with pytest.raises(ValueError, match=f"^{name} must be at least 1, not 0"):
        shares(*sizes, 1)


@pytest.mark.parametrize(
    ("devices", "accelerator", "count"),
    [(4, "gpu", 4), ("4", "gpu", 4), ([0, 2], "gpu", 2), ("0,1,", "gpu", 2), ("auto", "cpu", 1), (-1, "cpu", 1)],
)
def test_devices_are_counted_as_lightning_reads_them(devices, accelerator, count):
    assert num_devices(devices, accelerator) == count


@pytest.mark.parametrize("devices", [0, -3, 2.5, None, "many", "0,x", [], [0, "x"], True])
def test_devices_that_cannot_be_are_refused(devices):
    with pytest.raises(ValueError, match=r"^trainer.devices must be a number from 1, a list of devices"):
        num_devices(devices, "gpu")


@pytest.mark.parametrize("nodes", [0, -1, 1.5, None, "two"])
def test_nodes_that_cannot_be_are_refused(nodes):
    with pytest.raises(ValueError, match=r"^trainer.num_nodes must be a whole number from 1"):
        world_size(TRAINER | {"num_nodes": nodes})


def test_all_nodes_count(monkeypatch):
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_STEP_ID"):
        monkeypatch.delenv(name, raising=False)
    assert world_size(TRAINER) == 6


def test_a_launcher_with_another_number_of_processes_is_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ValueError, match="must be the 4 processes that the launcher started, not 6"):
        world_size(TRAINER)


def test_a_plan_does_not_look_at_the_launcher(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with planning():
        assert world_size(TRAINER) == 6


def test_how_a_batch_is_divided_does_not_change_a_stage_s_identity():
    config = {"batch_size": 64, "micro_batch_size": 8, "trainer": {"devices": 2}}

    assert relevant(config) == {"batch_size": 64}
