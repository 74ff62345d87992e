import pytest

from ldc.runtime.launching.words import train_words


def test_what_is_not_the_launchs_own_travels_as_it_was_typed():
    words = train_words(
        ["+experiment=x", "cluster=slurm", "cluster.nodes=2", "submit=true", "data.path='a, b'", "~stages.evaluate"]
    )
    assert words.settings == ("+experiment=x", "data.path='a, b'", "~stages.evaluate")


def test_the_runs_name_is_the_launchs_to_give():
    assert train_words(["run=a", "seed=1", "+array.pruner=[a]", "dry_run=true"]).settings == ("seed=1",)


def test_a_checkpoint_to_start_from_travels_too():
    assert train_words(["resume=/a b.ckpt"]) == ((), ("resume=/a b.ckpt",))


@pytest.mark.parametrize("words", [["--config-dir", "a b"], ["--config-dir=a b"], ["-cd", "a b"]])
def test_a_folder_of_more_configs_travels_too(words):
    assert train_words(words).flags == ("--config-dir=a b",)


@pytest.mark.parametrize("word", ["trainer.devices=4", "trainer.num_nodes=2", "++trainer.devices=4"])
def test_what_follows_from_the_cluster_is_refused_as_a_word(word):
    with pytest.raises(ValueError, match="must come from the cluster's nodes, gpus_per_node or tasks_per_node"):
        train_words([word])


def test_a_sweep_is_refused_and_told_of_arrays():
    with pytest.raises(ValueError, match="not '-m': see array"):
        train_words(["-m", "seed=0,1"])
