"""Which device torch computes on."""

from __future__ import annotations

import torch

from secprune.errors import LocalEnvironmentError, LocalMisuseError


def choose_device(name: str) -> torch.device:
    """The device that a model is to run on.

    Args:
        name: "cpu", "cuda", "cuda:1" and so on, or "auto": the first GPU if there is one, else the CPU.

    Raises:
        LocalMisuseError: no such kind of device.
        LocalEnvironmentError: this machine, or this build of torch, does not have it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in {"cpu", "cuda"} or (":" in name and not (kind == "cuda" and index.isdecimal())):
        raise LocalMisuseError(f"{name} is not a device", hint="choose auto, cpu, cuda or cuda:<number>")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise LocalEnvironmentError(
            f"torch {torch.__version__} finds {torch.cuda.device_count()} GPUs on this machine, so not {name}",
            hint="choose --device cpu, or install a build of torch for this machine's GPU",
        )
    return torch.device(name)
