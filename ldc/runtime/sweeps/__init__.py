from ldc.runtime.sweeps.agent import run_trials
from ldc.runtime.sweeps.file import SweepFile, read_sweep
from ldc.runtime.sweeps.ledger import Ledger
from ldc.runtime.sweeps.results import results, write_results
from ldc.runtime.sweeps.trials import Trial, trials

__all__ = ["Ledger", "SweepFile", "Trial", "read_sweep", "results", "run_trials", "trials", "write_results"]
