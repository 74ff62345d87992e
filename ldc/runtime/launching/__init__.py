from ldc.runtime.launching.cluster import Cluster
from ldc.runtime.launching.container import Container
from ldc.runtime.launching.jobs import Job, jobs
from ldc.runtime.launching.script import script
from ldc.runtime.launching.submission import submit, summarise, write

__all__ = ["Cluster", "Container", "Job", "jobs", "script", "submit", "summarise", "write"]
