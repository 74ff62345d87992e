"""`python -m ldc.ablate ablation=NAME`: runs an ablation row by row and writes its tables."""

import json
import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ldc import runtime

log = logging.getLogger(__name__)


@runtime.entry_point("ablate")
def main(cfg: DictConfig) -> dict[str, Any]:
    """Writes results.json and the document. The summary names them, and the rows that failed or are missing."""
    from ldc.runtime import ablations  # noqa: PLC0415 - a wrong key is answered before the libraries load

    runtime.check_whole(cfg, "num_images", least=4)
    runtime.check_whole(cfg, "replicates")
    ablations.check_ablation(cfg)
    jobs = ablations.chosen_jobs(cfg)
    if cfg.dry_run:
        commands = [job.command for job in jobs]
        log.info("%s", "\n".join(commands))
        return {"dry_run": True, "commands": commands, "left": ablations.estimate(jobs)}
    failed = ablations.execute(jobs, fresh=cfg.fresh)
    found = {**ablations.results(cfg), "failed": failed}
    folder = Path(cfg.paths.outputs) / "results" / cfg.ablation.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(found, indent=2))
    document = ablations.write_document(cfg, found, ablations.document_of(cfg, found) or folder / "results.md")
    out = {"document": str(document), "results": str(folder / "results.json")}
    return {"ablation": cfg.ablation.name, **out, "failed": failed, "missing": found["missing"]}


if __name__ == "__main__":
    main()
