import pytest

from ldc.data.module import LatentDataModule
from ldc.runtime.benchmarks.cache import random_cache
from ldc.runtime.benchmarks.scaling import scaled
from ldc.training import first_batches


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return random_cache(tmp_path_factory.mktemp("cache"), scaled("sd14", 4), samples=7, samples_per_shard=3).folder


def test_a_random_cache_is_read_as_a_real_one(cache):
    batches = list(first_batches(LatentDataModule(cache, batch_size=4, seed=0), 2))
    assert [tuple(batch.latents.shape) for batch in batches] == [(4, 4, 16, 16)] * 2
    assert batches[0].text.shape[0] == 4
    assert batches[0].text.shape[1:] == batches[0].empty_text.shape[1:] == (5, 48)
    assert len({key for batch in batches for key in batch.keys}) == 7  # eight samples of seven: one comes again


def test_a_loader_outside_of_a_fit_starts_where_it_is_told(cache):
    straight = list(first_batches(LatentDataModule(cache, batch_size=2, seed=0), 3))
    (late,) = first_batches(LatentDataModule(cache, batch_size=2, seed=0), 1, consumed=4)
    assert late.positions.tolist() == straight[2].positions.tolist() == [4, 5]
    assert late.latents.equal(straight[2].latents)
