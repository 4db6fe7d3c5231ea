"""Headgate: an inference gateway. Many models and LoRA adapters on few GPUs, by the manifests you already have."""

__version__ = "0.1.0"
