"""`python -m ldc.sweep sweep=FILE.yaml`: runs a W&B sweep file's trials here, one after the other, without a server."""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ldc import runtime

log = logging.getLogger(__name__)


@runtime.entry_point("sweep")
def main(cfg: DictConfig) -> dict[str, Any]:
    """Writes results.json, table.md and sweep.png. The summary names them, the best trial and its command."""
    from ldc.runtime import sweeps  # noqa: PLC0415 - a wrong key is answered before the libraries load

    runtime.check_whole(cfg, "count", optional=True)
    runtime.check_whole(cfg, "seed", least=0)
    sweep = sweeps.read_sweep(Path(cfg.sweep))
    trials = sweeps.trials(sweep, cfg)
    folder = Path(cfg.paths.outputs) / "results" / sweep.name
    if cfg.dry_run:
        found = sweeps.results(sweep, trials, sweeps.Ledger(folder))
        runs = [str(trial.folder) for trial in trials]  # composes each, so that a wrong setting is found
        return {"dry_run": True, **found, "commands": [trial.command for trial in trials], "runs": runs}
    ledger = sweeps.run_trials(trials, folder, retry=cfg.retry)
    found = sweeps.results(sweep, trials, ledger)
    paths = sweeps.write_results(sweep, found, folder)
    log.info("%s", Path(str(paths["table"])).read_text())
    if found["best"] is None:
        raise ValueError(
            f"A trial of {sweep.name!r} must finish, but none did; the first: {found['trials'][0]['error']}"
        )
    return {**found, **paths}


if __name__ == "__main__":
    main()
