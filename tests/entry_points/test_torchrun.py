"""launch/torchrun.sh, on two nodes that are both this machine."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "launch" / "torchrun.sh"
FIT = ("max_steps=2", "batch_size=2", "schedule.warmup_steps=0", "grids.prompts=[]")
WORDS = ["+experiment=bksdm", "trainer=cpu", "pruner=bksdm_tiny", "encoded=null", "~stages.encode", "~stages.evaluate"]


def node(rank, port, *words):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    nodes = {"NNODES": "2", "NODE_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    environment = {**os.environ, **nodes, "PATH": path, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([SCRIPT, "1", *words], env=environment, **pipes)  # noqa: S603


@pytest.mark.integration
def test_the_same_line_on_two_nodes_trains_one_run(tmp_path, cache):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    places = [f"paths.outputs={tmp_path}", f"paths.cache={cache}", "run=two"]
    words = [*WORDS, *places, *(f"stages.distil.{setting}" for setting in FIT)]
    nodes = [node(rank, port, *words) for rank in (0, 1)]
    try:
        (out, err), (other, _) = (process.communicate(timeout=400) for process in nodes)
    finally:
        for process in nodes:
            process.kill()
    assert [process.returncode for process in nodes] == [0, 0], err[-3000:]
    assert "MEMBER: 1/2" in err
    assert json.loads(out.splitlines()[-1])["stages"][-1]["samples_seen"] == 2 * 2
    assert other == ""
