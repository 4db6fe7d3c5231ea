"""What would this policy do?  `run`: requests, a policy and simulated servers → what became of each request."""

from headgate.trial.outcome import Outcome
from headgate.trial.run import Stuck, run

__all__ = ["Outcome", "Stuck", "run"]
