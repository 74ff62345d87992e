"""Training without a cache of latents, or without one of texts."""

import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from ldc.data.batch import ImageTextBatch
from ldc.data.encode import encode_shards
from ldc.data.encoders import FrozenEncoders
from ldc.data.latents import LatentDataset
from ldc.data.pixels import PixelDataset, PixelReader, collate_pixels
from ldc.data.sharded import ShardedSamples
from ldc.models import Teacher, load_teacher
from ldc.runtime import chain, prepare
from ldc.runtime.online import OnlineEncoder
from ldc.runtime.readers import pixel_reader

SEED = 3
SETTINGS = {"flip": False, "samples_per_shard": 10, "shuffle_buffer": 4}
ONLINE = ("encoded=null", "~stages.encode")
READING = {"batch_size": 3, "seed": SEED, "caption_dropout": 0.0, "num_workers": 0}


@pytest.fixture(scope="module")
def teacher(teacher_folder):
    return load_teacher(Teacher(str(teacher_folder)))


@pytest.fixture(scope="module")
def shard(tmp_path_factory, write_laion):
    keys = [f"{number:09d}" for number in range(6)]
    return write_laion(tmp_path_factory.mktemp("shard") / "a.tar", keys)


def data_config(path, **changes):
    source = {"_target_": "ldc.data.sources.Shards", "urls": path}
    return OmegaConf.create({"source": source, "filters": None, "max_skipped": 0.1, "size": 32} | changes)


def test_online_latents_and_texts_are_those_of_the_cache(teacher, shard, tmp_path):
    encoders = FrozenEncoders(teacher.vae, teacher.text_encoder, teacher.tokenizer)
    cached = LatentDataset(encode_shards([shard], encoders, tmp_path, size=32, progress=False), SEED, 0.4)
    pixels = PixelDataset(ShardedSamples([shard]), PixelReader(32, SEED, 0.4))
    positions = range(18)  # three epochs; more than one call of the VAE
    expected = cached.collate([cached[position] for position in positions])
    found = OnlineEncoder(teacher, SEED)(collate_pixels([pixels[position] for position in positions]))
    assert found.keys == expected.keys
    torch.testing.assert_close(found.latents, expected.latents, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(found.text, expected.text, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(found.empty_text, expected.empty_text, rtol=2e-3, atol=2e-3)
    assert not torch.allclose(found.latents[:6], found.latents[6:12], atol=0.1)


def test_cached_latents_without_text_get_the_states_of_their_captions(teacher):
    latents = torch.randn(2, 4, 8, 8)
    batch = OnlineEncoder(teacher, SEED)(ImageTextBatch(None, latents, ["ghost", ""], torch.arange(2), ["a", "b"]))
    assert batch.latents is latents
    assert torch.equal(batch.text[1:], batch.empty_text)
    assert not torch.equal(batch.text[:1], batch.empty_text)


def test_a_batch_with_neither_pixels_nor_latents_is_refused(teacher):
    with pytest.raises(ValueError, match="must hold pixels or latents, but it has neither"):
        OnlineEncoder(teacher, SEED)(ImageTextBatch(None, None, ["ghost"], torch.arange(1), ["a"]))


def test_pixels_leave_out_what_the_filters_refuse_and_what_does_not_decode(laion, tmp_path):
    filters = {"min_aesthetic": 6.5, "max_watermark": 0.8, "min_size": 512}
    config = data_config(str(laion), filters=filters)
    reader = pixel_reader(config, SETTINGS, str(tmp_path), **READING)
    samples = ShardedSamples(reader.tars, reader.filters, exclude=reader.exclude)
    assert {int(record["key"]) for record in samples.records()} == set(range(20)) - {3, 5, 7, 12}


def test_more_damage_than_the_default_limit_passes_where_the_data_allow_it(tmp_path, write_laion):
    keys = [f"{number:09d}" for number in range(4)]
    write_laion(tmp_path / "a.tar", keys, changes={keys[0]: {"captions": [""]}})
    reader = pixel_reader(data_config(str(tmp_path), max_skipped=0.5), SETTINGS, str(tmp_path / "cache"), **READING)
    assert reader.max_skipped == 0.5


@pytest.mark.integration
@pytest.mark.parametrize("reader", ["indexed", "streaming"])
def test_a_fit_without_a_cache_trains_on_pixels(trained, teacher_folder, laion, reader):
    path = laion / "{00000..00001}.tar"
    summary = trained(
        "+experiment=bksdm",
        f"teacher={teacher_folder}",
        "data=laion",
        f"data.path={path if reader == 'indexed' else f'pipe:cat {path}'}",
        f"data.source.reader={reader}",
        "data.size=32",
        *ONLINE,
        "~stages.evaluate",
        "stages.distil.online.shuffle_buffer=4",
        fits=["distil"],
    )
    assert [(stage["name"], stage["samples_seen"]) for stage in summary["stages"]] == [("prune", 0), ("distil", 4)]
    metrics = json.loads((Path(summary["run"]) / "distil" / "artifact.json").read_text())["metrics"]
    assert metrics["train/total"] > 0


@pytest.mark.integration
def test_latents_cached_without_text_train_with_the_text_encoder_online(trained, teacher_folder, laion):
    summary = trained(
        "+experiment=bksdm",
        f"teacher={teacher_folder}",
        "data=shards",
        f"data.path={laion}",
        "data.size=32",
        "data.prompts=[red apple]",
        "stages.encode.text=false",
        "stages.encode.flip=true",
        "stages.distil.caption_dropout=0.5",
        "stages.distil.loader.num_workers=1",
        "~stages.evaluate",
        fits=["distil"],
    )
    assert [stage["samples_seen"] for stage in summary["stages"]] == [0, 0, 4]
    assert list((Path(summary["run"]) / "distil" / "samples").glob("*.png"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["data.source.reader=streaming"],
            "reader must be indexed for a cache of latents, not streaming: add",
        ),
        (["encoded=null"], "encoded must name the stage that encodes, where there is one, not null"),
        (["~stages.encode"], "'distil' takes 'encode', which no earlier stage makes"),
        (
            [*ONLINE, "stages.distil.online.shuffle_buffer=0"],
            "online.shuffle_buffer must be at least 1",
        ),
        (["encoded=prune"], "encoded must name a stage that makes latents, not 'prune', which makes student"),
        (["stages.distil.student=encode"], "student must name a stage that makes student, not 'encode'"),
        (["trainer.teacher_dtype=int8"], "teacher_dtype must be float32, bfloat16, float16 or none, not 'int8'"),
        (["stages.distil.max_steps=5"], r"^stages\.distil\.schedule\.warmup_steps must be in \[0, 5\), not 20\.$"),
        (["stages.distil.caption_dropout=2"], r"caption_dropout must be in \[0, 1\], not 2"),
        ([*ONLINE, "data.path=/nowhere/{0..3}.tar"], "matches nothing in /nowhere"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_any_work(configured, teacher_folder, laion, arguments, sentence):
    common = ["+experiment=bksdm", f"teacher={teacher_folder}", "data=shards", f"data.path={laion}", "~stages.evaluate"]
    cfg = configured(*common, *arguments)
    prepare(cfg)
    with pytest.raises(ValueError, match=sentence):
        list(chain(cfg))


def test_streamed_data_cannot_be_evaluated_on(configured, teacher_folder, laion):
    data = ("data=shards", f"data.path={laion}", "data.source.reader=streaming")
    cfg = configured("+experiment=bksdm", f"teacher={teacher_folder}", *data, *ONLINE)
    prepare(cfg)
    with pytest.raises(ValueError, match="reader must be indexed for this stage, which reads the data more than once"):
        list(chain(cfg))


def test_images_of_another_size_than_the_teachers_are_warned_of(configured, teacher_folder, laion, caplog):
    data = ("data=shards", f"data.path={laion}", "~stages.evaluate")
    cfg = configured("+experiment=bksdm", f"teacher={teacher_folder}", *data)
    prepare(cfg)
    list(chain(cfg))
    assert "data.size 512 gives 128 x 128 latents, but the teacher was made for 8 x 8 (data.size=32)" in caplog.text


@pytest.mark.parametrize("text", ["stages.encode.text=true", "stages.encode.text=false"])
def test_random_weights_cannot_encode_captions_but_a_dry_run_may_check_the_rest(configured, text, caplog):
    overrides = ["+experiment=bksdm", "teacher=sd14", "teacher.weights=random", "~stages.evaluate", text]
    cfg = configured(*overrides)
    prepare(cfg)
    with pytest.raises(ValueError, match=r"teacher.weights must be pretrained to encode captions, not random"):
        list(chain(cfg))
    cfg = configured(*overrides, "dry_run=true")
    prepare(cfg)
    assert [stage.name for stage in chain(cfg)] == ["encode", "prune", "distil"]
    assert "A run would stop here: teacher.weights must be pretrained" in caplog.text
