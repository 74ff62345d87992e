"""`python -m ldc.train +experiment=NAME`: runs an experiment's chain of stages."""

from typing import Any

from omegaconf import DictConfig

from ldc import runtime


@runtime.entry_point("train")
def main(cfg: DictConfig) -> dict[str, Any]:
    """Runs the experiment's chain of stages. The summary names the run's folder, its stages and its table."""
    run = runtime.prepare(cfg)  # resolved config and the folder's name
    stages = list(runtime.chain(cfg))  # every input checked before heavy work
    if cfg.dry_run:
        return runtime.describe(run, stages)
    runtime.begin(run, stages)  # the folder, with config and versions
    with runtime.sign_of_life(run.folder):  # other ranks wait while the first works alone
        for stage in stages:  # finished stages are skipped, an interrupted one resumes
            run.record(stage.name, stage.execute(run))
        return run.summarise()


if __name__ == "__main__":
    main()
