"""`python -m ldc.prepare data=NAME`: checks a source and puts it into indexed shards in the cache."""

from typing import Any

from omegaconf import DictConfig

from ldc import runtime


@runtime.entry_point("prepare")
def main(cfg: DictConfig) -> dict[str, Any]:
    """Prepares the data; the summary gives folder, shards, counts by split, and what was filtered and skipped.

    Texts are fetched and counted: a stage of the experiment packs them by its tokenizer.
    """
    source = runtime.data_source(cfg.data)
    source.check()
    if cfg.dry_run:
        return {"dry_run": True, "source": source.name}
    if (counts := runtime.text_counts(cfg.data, cfg.paths.cache)) is not None:
        return {"source": source.name, "counts": counts}
    data = runtime.prepared(cfg.data, cfg.paths.cache)
    held_out = {split: [str(tar) for tar in tars] for split, tars in data.held_out.items()}
    return {
        "folder": str(data.folder),
        "train": [str(tar) for tar in data.train],
        "held_out": held_out,
        "counts": data.counts,
    }


if __name__ == "__main__":
    main()
