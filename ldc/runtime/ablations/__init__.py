from ldc.runtime.ablations.document import document_of, write_document
from ldc.runtime.ablations.estimates import estimate
from ldc.runtime.ablations.execution import execute
from ldc.runtime.ablations.jobs import Job, check_ablation, chosen_jobs, jobs
from ldc.runtime.ablations.results import results

__all__ = [
    "Job",
    "check_ablation",
    "chosen_jobs",
    "document_of",
    "estimate",
    "execute",
    "jobs",
    "results",
    "write_document",
]
