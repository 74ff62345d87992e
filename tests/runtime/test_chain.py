import gc
import threading
from pathlib import Path

import pytest

from ldc.runtime.chain import Stage
from ldc.runtime.run import Run
from ldc.training import DistillationModule


def test_a_rank_may_look_at_a_stage_while_rank_zero_begins_it(tmp_path):
    stage, run = Stage("distil", None, None), Run(None, tmp_path)
    over, errors = threading.Event(), []

    def look():
        while not over.is_set():
            try:
                stage.refuse_other_config(tmp_path / "distil", "0123")
            except ValueError as error:  # half of a file is no JSON
                errors.append(error)

    other = threading.Thread(target=look)
    other.start()
    for _ in range(500):
        stage._begin("0123", run, tmp_path / "distil")
    over.set()
    other.join()
    assert errors == []


def modules():
    return [thing for thing in gc.get_objects() if issubclass(type(thing), DistillationModule)]


@pytest.mark.integration
def test_a_finished_stage_leaves_no_networks_in_memory(trained, teacher_folder, laion):
    gc.collect()
    before = {id(thing) for thing in modules()}  # other tests'
    gc.disable()  # what is freed is freed by the chain, not by chance
    try:
        summary = trained(
            "+experiment=bksdm",
            f"teacher={teacher_folder}",
            "data=laion",
            f"data.path={laion}",
            "data.size=32",
            "~stages.evaluate",
            fits=["distil"],
        )
        left = [thing for thing in modules() if id(thing) not in before]
    finally:
        gc.enable()
    assert (Path(summary["run"]) / "distil" / "unet").is_dir()
    assert left == []
