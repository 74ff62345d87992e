import pytest

from ldc.prune import main

PUBLISHED = {"bksdm_base": (579_384_964, 442), "bksdm_small": (482_346_884, 396), "bksdm_tiny": (323_384_964, 358)}
MACS = {"bksdm_base": 261_496_995_840, "bksdm_small": 255_447_203_840, "bksdm_tiny": 242_754_519_040}


@pytest.mark.parametrize("pruner", PUBLISHED)
def test_a_dry_run_counts_the_published_students(command, pruner):
    """Kim et al. 2024, table 1: https://arxiv.org/abs/2305.15798."""
    summary = command(main, "teacher=sd14", f"pruner={pruner}", "dry_run=true").summary
    assert (summary["params"], summary["tensors"]) == PUBLISHED[pruner]
    assert summary["macs"] == MACS[pruner] > summary["macs_without_attention"]
    assert summary["initialised_from_teacher"] == PUBLISHED[pruner][1]
    assert summary["stock"] is True
    assert summary["plan"]["schema"] == 1
