"""Pods as processes of this machine: a small kubelet, and the controllers that make Pods of Deployments."""

from headgate.runtime.pods.outside import Outside
from headgate.runtime.pods.pod import PodRow
from headgate.runtime.pods.pods import Options, Pods

__all__ = ["Options", "Outside", "PodRow", "Pods"]
