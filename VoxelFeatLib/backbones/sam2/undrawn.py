"""Networks whose weights are all loaded, made without drawing any first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import init
from torch.overrides import TorchFunctionMode

_DRAWING = frozenset(
    {
        init.kaiming_normal_,
        init.kaiming_uniform_,
        init.normal_,
        init.trunc_normal_,
        init.uniform_,
        init.xavier_normal_,
        init.xavier_uniform_,
        torch.Tensor.normal_,
        torch.Tensor.uniform_,
    }
)


class Undrawn(TorchFunctionMode):
    """Inside it tensors are left as they are where random numbers would be put into them.

    Torch's generator is one for the whole process: a thread that draws from it, even if it puts it
    back, changes what the others draw meanwhile. This holds for the own thread alone.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Leave out what draws, do the rest."""
        kwargs = kwargs or {}
        if func in _DRAWING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
