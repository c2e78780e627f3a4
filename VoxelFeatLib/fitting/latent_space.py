"""Targets of a level in the coordinates of a grid's latent vectors."""

from __future__ import annotations

import torch

_LARGEST_HALF = torch.finfo(torch.float16).max


class LatentSpace:
    """Features f as what a grid's basis B can express of them, and how much it cannot.

    In the objective's metric W = diag(weight) the basis is orthonormal, B' W B = 1. The nearest
    point of the basis is B z with z = B' W f, and for every latent vector v

        (B v - f)' W (B v - f) = |v - z|^2 + rest^2,    rest^2 = f' W f - |z|^2.

    So the agreement is that of latent vectors, exactly, with a fraction of the numbers.

    Args:
        basis: (C, L).
        weight: 1 / (w_i + eps) of the objective, (C,).
    """

    def __init__(self, basis: torch.Tensor, weight: torch.Tensor) -> None:
        self._weight = weight
        self._projector = weight[:, None] * basis.detach()

    def keep(self, features: torch.Tensor) -> torch.Tensor:
        """Return z and rest of features (..., C) side by side: (..., L + 1) float16."""
        features = features.float()
        latents = features @ self._projector
        squares = (features.square() * self._weight).sum(-1) - latents.square().sum(-1)
        rest = squares.clamp(min=0).sqrt()
        kept = torch.cat([latents, rest[..., None]], dim=-1)
        return kept.clamp(-_LARGEST_HALF, _LARGEST_HALF).half()
