"""The hardware, the versions and the command that a number belongs to."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

_PATHS = ("--out", "--data", "--work", "--bank")
PACKAGES = ("orfila", "torch", "torchvision", "numpy", "kronfluence")


def describe() -> dict[str, str]:
    """Hardware, versions and command of this process."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "load when it began": f"{os.getloadavg()[0]:.1f}",
        "command": " ".join(["python", "-m", "benchmarks", *_without_paths(sys.argv[1:])]),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _without_paths(arguments: list[str]) -> list[str]:
    """The page is committed, and where somebody keeps files is nobody's business."""
    kept = []
    for i, argument in enumerate(arguments):
        if argument in _PATHS or (i > 0 and arguments[i - 1] in _PATHS):
            continue
        kept.append(argument)
    return kept
