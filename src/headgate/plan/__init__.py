"""What should the gateway do?  `translate`: Snapshot → Plan and Statuses."""

from headgate.plan.plan import Plan, Statuses
from headgate.plan.render import plain, plan_yaml, seal, status_yaml, translation_yaml
from headgate.plan.translate import translate

__all__ = ["Plan", "Statuses", "plain", "plan_yaml", "seal", "status_yaml", "translate", "translation_yaml"]
