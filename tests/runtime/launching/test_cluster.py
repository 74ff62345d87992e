import re

import pytest

from ldc.runtime.launching import Cluster, Container


def test_one_process_a_gpu_on_every_node():
    cluster = Cluster(nodes=4, gpus_per_node=8)
    assert cluster.words == ("trainer.num_nodes=4", "trainer.devices=8")
    options = cluster.sbatch_options()
    assert {"--nodes=4", "--ntasks-per-node=8", "--gpus-per-node=8"} <= set(options)


def test_a_cluster_without_gpus_trains_on_cpus_and_asks_for_none():
    cluster = Cluster(tasks_per_node=3)
    assert cluster.words == ("trainer.num_nodes=1", "trainer.devices=3", "trainer.accelerator=cpu")
    assert not any("gpu" in option for option in cluster.sbatch_options())


def test_a_site_may_want_gpus_asked_for_otherwise():
    assert "--gres=gpu:a100:2" in Cluster(gpus_per_node=2, gpu_request="--gres=gpu:a100:{gpus}").sbatch_options()


def test_what_is_null_is_left_to_the_cluster():
    assert not any(option.startswith(("--partition", "--time", "--mem")) for option in Cluster().sbatch_options())
    assert "--time=24:00:00" in Cluster(time="24:00:00").sbatch_options()


def test_a_job_that_slurm_may_not_requeue_does_not_requeue_itself():
    cluster = Cluster(gpus_per_node=1, requeue=False)
    assert "--no-requeue" in cluster.sbatch_options()
    assert "trainer.requeue=false" in cluster.words


def test_a_stage_that_trains_nothing_is_one_process():
    stage = Cluster(nodes=4, gpus_per_node=8).of_stage("evaluate", trains=False)
    assert (stage.nodes, stage.gpus_per_node, stage.tasks) == (1, 1, 1)


def test_a_stages_own_settings_beat_the_clusters():
    cluster = Cluster(nodes=4, gpus_per_node=8, stages={"prune": {"gpus_per_node": 0, "partition": "cpu"}})
    stage = cluster.of_stage("prune", trains=False)
    assert (stage.gpus_per_node, stage.partition, stage.tasks) == (0, "cpu", 1)
    assert cluster.of_stage("distil", trains=True).nodes == 4


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"nodes": 0}, "cluster.nodes must be a whole number from 1, not 0."),
        ({"gpus_per_node": 8, "tasks_per_node": 4}, "must be null where there are GPUs"),
        ({"container": {"kind": "docker", "image": "x"}}, "must be none, pyxis or apptainer, not 'docker'."),
        ({"container": {"kind": "pyxis"}}, "cluster.container.image must be given with kind=pyxis, not None."),
        ({"container": {"image": "x"}}, "cluster.container.image must be null without a container, not 'x'."),
        ({"container": {"images": "x"}}, "Key 'cluster.container.images' is no setting of a container; did you mean"),
        ({"container": {"mounts": "/data"}}, "cluster.container.mounts must be a list of texts, not '/data'."),
        ({"container": "x"}, "cluster.container must be a mapping, as {NAME: VALUE}, not 'x'."),
        ({"options": "--exclusive"}, "cluster.options must be a list of texts, not '--exclusive'."),
        ({"srun_options": [1]}, "cluster.srun_options must be a list of texts, not [1]."),
        ({"setup": "abc"}, "cluster.setup must be a list of texts, not 'abc'."),
        ({"env": "FOO"}, "cluster.env must be a mapping, as {NAME: VALUE}, not 'FOO'."),
        ({"env": {"A B": 1}}, "cluster.env must give variables their values, as {NAME: VALUE}, not 'A B': 1."),
        ({"stages": {"prune": "cpu"}}, "cluster.stages.prune must be a mapping, as {NAME: VALUE}, not 'cpu'."),
        ({"gpu_request": "--gres=gpu:{n}"}, "cluster.gpu_request must have {gpus} as its one placeholder, not"),
        ({"gpu_request": "--gres=gpu:{"}, "cluster.gpu_request must have {gpus} as its one placeholder, not"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Cluster(**settings)


def test_a_misspelt_setting_of_a_stage_is_refused_with_the_near_one():
    cluster = Cluster(stages={"prune": {"partitoin": "cpu"}})
    with pytest.raises(ValueError, match=r"'cluster\.stages\.prune\.partitoin' is no setting.*'partition'"):
        cluster.of_stage("prune", trains=False)


def test_a_setting_of_a_stage_has_its_type():
    cluster = Cluster(stages={"prune": {"requeue": "no"}})
    with pytest.raises(ValueError, match=r"^cluster\.stages\.prune\.requeue must be true or false, not 'no'\.$"):
        cluster.of_stage("prune", trains=False)


@pytest.mark.parametrize(
    "time", [None, 30, "30", "30:00", "24:00:00", "1-12", "1-12:30", "1-12:30:00", "UNLIMITED", "infinite"]
)
def test_a_time_may_have_each_form_of_slurm(time):
    assert Cluster(time=time).time == time


@pytest.mark.parametrize("time", ["soon", 0, "00:00:00", -1, "1-", "1:2:3:4", "12:60", "1 hour"])
def test_a_time_of_another_form_is_refused(time):
    with pytest.raises(ValueError, match=rf"^cluster\.time must be null, minutes, .*more than zero, not {time!r}\.$"):
        Cluster(time=time)


def test_threads_are_as_many_as_the_stage_has_processors():
    cluster = Cluster(cpus_per_task=8, stages={"prune": {"cpus_per_task": 32}}, env={"OMP_NUM_THREADS": None, "A": 1})
    assert cluster.variables == {"OMP_NUM_THREADS": "8", "A": "1"}
    assert cluster.of_stage("prune", trains=False).variables["OMP_NUM_THREADS"] == "32"


def test_threads_may_be_given():
    assert Cluster(cpus_per_task=8, env={"OMP_NUM_THREADS": 2}).variables == {"OMP_NUM_THREADS": "2"}


def test_a_variable_that_is_null_is_left_out():
    assert Cluster(cpus_per_task=None, env={"OMP_NUM_THREADS": None, "A": None}).variables == {}


def test_pyxis_is_told_by_options_of_srun():
    container = Container(kind="pyxis", image="x.sqsh", mounts=["/data", "/a:/b"])
    assert container.srun_options("/work") == [
        "--container-image=x.sqsh",
        "--container-mounts=/work:/work,/data:/data,/a:/b",
        "--container-workdir=/work",
    ]
    assert container.prefix("/work", has_gpu=True) == []


def test_apptainer_is_a_command_before_ours_with_the_driver_where_there_are_gpus():
    container = Container(kind="apptainer", image="x.sif", mounts=["/data"], options=["--cleanenv"])
    start = ["apptainer", "exec", "--nv", "--bind", "/work:/work", "--bind", "/data:/data", "--pwd", "/work"]
    assert container.prefix("/work", has_gpu=True) == [*start, "--cleanenv", "x.sif"]
    assert "--nv" not in container.prefix("/work", has_gpu=False)
    assert container.srun_options("/work") == []
