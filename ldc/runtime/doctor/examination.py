"""The whole examination of a run: what is looked at in which order, and the summary of it."""

import logging
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from ldc.artifacts import find
from ldc.evaluation.tables import markdown_table
from ldc.runtime.chain import Stage
from ldc.runtime.checks import check_number
from ldc.runtime.doctor.configuration import check_config
from ldc.runtime.doctor.disk import check_disk
from ldc.runtime.doctor.environment import check_versions, look_for_devices
from ldc.runtime.doctor.estimates import METHOD, Assumed, Estimate, estimate, plan_fit
from ldc.runtime.doctor.findings import FAILED, Finding
from ldc.runtime.doctor.rehearsals import rehearse_fits
from ldc.runtime.doctor.shards import Data, enough_shards, look_at
from ldc.runtime.paths import cache_folder
from ldc.runtime.run import Run, prepare
from ldc.runtime.sources import data_source

ESTIMATE = "estimate"
SETTINGS = ("device", "utilisation", "reserve", "step", "devices")
log = logging.getLogger(__name__)


def examine(cfg: DictConfig) -> dict[str, Any]:
    """Returns {"run", "findings", "failed", "estimates", "assumed", "method", "seconds"}; tables go to the log.

    Raises:
        ValueError: no experiment is named, or a setting of the doctor's own cannot be.
    """
    start = time.monotonic()
    settings = _settings(cfg)
    assumed = _assumed(settings)
    run = prepare(cfg)
    stages, findings = check_config(run.cfg)
    data = _data(run.cfg)
    samples, finished = _finished(run, stages)
    estimates, found = _estimates(run.cfg, stages, samples or data.samples, assumed)
    source = data_source(run.cfg.data)
    for each in estimates:
        if each.plan.encoding.pixels:
            workers = each.plan.config.loader.get("num_workers", 0)
            found += enough_shards(data, source, each.plan.sharding.ranks, workers)
    if settings["step"]:
        found += rehearse_fits(run.cfg, [each.plan for each in estimates])
    findings += [*data.findings, *found]
    findings += check_disk(run.cfg, estimates, stages, finished, samples or data.samples)
    findings += [*check_versions(), *look_for_devices(run.cfg)]
    _show(findings, estimates, assumed)
    return {
        "dry_run": True,
        "run": str(run.folder),
        "failed": sum(finding.status == FAILED for finding in findings),
        "findings": [finding._asdict() for finding in findings],
        "estimates": [each.row for each in estimates],
        "assumed": {"device": assumed.name, "tflops": assumed.tflops, "utilisation": assumed.utilisation},
        "method": METHOD,
        "seconds": round(time.monotonic() - start, 1),
    }


def _settings(cfg: DictConfig) -> dict[str, Any]:
    """Takes the doctor's own settings out of the config, which then is a run's, with that run's name."""
    settings = {name: OmegaConf.to_container(cfg, resolve=True)[name] for name in SETTINGS}  # pyrefly: ignore
    with open_dict(cfg):
        for name in SETTINGS:
            del cfg[name]
    return settings


def _assumed(settings: dict[str, Any]) -> Assumed:
    if settings["device"] not in settings["devices"]:
        raise ValueError(f"device must be one of {', '.join(settings['devices'])}, not {settings['device']!r}.")
    check_number(settings, "utilisation", above=0, most=1)
    check_number(settings, "reserve", above=0, most=1)
    chosen = settings["devices"][settings["device"]]
    if not isinstance(chosen, dict) or set(chosen) != {"tflops", "memory_gb"}:
        raise ValueError(f"devices.{settings['device']} must have tflops and memory_gb, not {chosen!r}.")
    for name in chosen:
        check_number(chosen, name, above=0)
    return Assumed(settings["device"], **chosen, utilisation=settings["utilisation"], reserve=settings["reserve"])


def _data(cfg: DictConfig) -> Data:
    try:
        return look_at(data_source(cfg.data), cache_folder(cfg.paths.cache))
    except (ValueError, OSError) as error:
        return Data(None, "the data cannot be read", findings=[Finding("shards", FAILED, str(error))])


def _finished(run: Run, stages: list[Stage]) -> tuple[int | None, list[str]]:
    """Returns the samples that a finished encoding has counted, after filters, and the names of finished stages."""
    artifacts = {stage.name: find(Path(run.folder) / stage.name) for stage in stages}
    made = {name: artifact for name, artifact in artifacts.items() if artifact is not None}
    counts = [artifact.metrics["samples"] for artifact in made.values() if artifact.kind == "latents"]
    return (counts[0] if counts else None), list(made)


def _estimates(
    cfg: DictConfig, stages: list[Stage], samples: int | None, assumed: Assumed
) -> tuple[list[Estimate], list[Finding]]:
    made, found = [], []
    for stage in stages:
        if not getattr(stage.kind, "trains", False):
            continue
        if "student" not in stage.config:
            found.append(Finding(ESTIMATE, "note", f"{stage.name}: only fits of students are estimated"))
            continue
        try:
            plan, said = plan_fit(cfg, stage.name)
            made.append(estimate(plan, samples, assumed))
        except (ValueError, OSError) as error:
            found.append(Finding(ESTIMATE, FAILED, f"{stage.name}: {' '.join(str(error).split())}"))
            continue
        found += [*said, *made[-1].findings]
    return made, found


def _show(findings: list[Finding], estimates: list[Estimate], assumed: Assumed) -> None:
    for finding in findings:
        log.info("%-8s %-9s %s", finding.status, finding.check, finding.text)
    if not estimates:
        return
    rows = [{key: value for key, value in each.row.items() if key != "memory"} for each in estimates]
    memory = [{"stage": each.plan.name, **each.row["memory"]} for each in estimates]
    log.info("\nAt %.0f %% of %g TFLOP/s (%s):", 100 * assumed.utilisation, assumed.tflops, assumed.name)
    log.info("%s\nGiB of a rank:\n%s\n%s.", markdown_table(rows), markdown_table(memory), METHOD.capitalize())
