"""SAM2 models of random weights, and checkpoint files in the official layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra import compose
from hydra.utils import instantiate
from omegaconf import OmegaConf

# A weight of which half precision makes nothing else.
FAINT = 2.0**-10
CONFIGS = {"tiny": "t", "small": "s", "base-plus": "b+", "large": "l"}


def official_config(size: str) -> Any:
    """The `model` of an official configuration file."""
    import sam2  # noqa: F401, PLC0415 - tells Hydra where its configuration files are

    config = compose(config_name=f"configs/sam2.1/sam2.1_hiera_{CONFIGS[size]}.yaml")
    OmegaConf.resolve(config)
    return config.model


def random_sam2(size: str, seed: int = 0) -> torch.nn.Module:
    """The whole SAM2Base; weights that start at zero are random too, such as positions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = instantiate(official_config(size), _recursive_=True).eval()
        with torch.no_grad():
            for weight in model.parameters():
                if not weight.any():
                    weight.normal_(0, 0.2)
    return model.requires_grad_(False)


def save(content: Any, path: Path) -> Path:
    torch.save(content, path)  # noqa: TID251 - the layout of the official files
    return path


def hollow(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of the same shapes, all alike, that take no space in a file."""
    return {name: torch.full((1,), FAINT).expand(tensor.shape) for name, tensor in weights.items()}
