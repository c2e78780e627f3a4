"""The least time that work can take on this machine: its roofline.

Two things are counted: the operations of matrix products, convolutions and attention (a
multiplication and an addition are two), and the fewest bytes that must move, each input read once
and each output written once. Two ceilings are measured in the same run: a large copy (bytes read
plus bytes written), and a large matrix product in the type in use. Operations over the one, bytes
over the other: the larger is the floor. The share of the roofline is the floor over the time taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from _tables import Row
from _timing import seconds_of
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from VoxelFeatLib.devices.memory import free_memory

# Large enough to leave caches behind and fill the machine.
_COPY_BYTES = {"cuda": 4 << 30, "cpu": 256 << 20}
_SIDE = {"cuda": 8192, "cpu": 2048}
_REPEATS = 5


@dataclass(frozen=True)
class Work:
    """What has to be done, whatever the program does beside it.

    Attributes:
        flop: Operations.
        bytes: Read and written.
        dtype: In which the operations are done.
    """

    flop: float
    bytes: float
    dtype: torch.dtype = torch.float32

    def times(self, count: float) -> Work:
        """Return the same so many times over."""
        return Work(count * self.flop, count * self.bytes, self.dtype)


class Roofline:
    """A device's two ceilings, each measured once, when it is first asked for.

    Args:
        device: The device.
        scale: Divides what is moved and multiplied, for tests.
    """

    def __init__(self, device: torch.device, scale: int = 1) -> None:
        self.device = device
        self._scale = scale
        self._copy: float | None = None
        self._products: dict[torch.dtype, float] = {}

    @property
    def copy_rate(self) -> float:
        """Bytes read and written a second by a large copy, the fastest of some."""
        if self._copy is None:
            most = min(self._size(_COPY_BYTES), free_memory(self.device) // 4)
            count = most // 4 // self._scale
            source = torch.rand(count, device=self.device)
            target = torch.empty_like(source)
            seconds = min(seconds_of(lambda: target.copy_(source), _REPEATS, self.device, 2))
            self._copy = 2 * bytes_of(source) / seconds
        return self._copy

    def product_rate(self, dtype: torch.dtype) -> float:
        """Operations a second of a large matrix product, the fastest of some."""
        if dtype not in self._products:
            side = self._size(_SIDE) // self._scale
            # Random: on zeros some machines are faster than they are on data.
            a, b = torch.randn(2, side, side, device=self.device).to(dtype)
            seconds = min(seconds_of(lambda: a @ b, _REPEATS, self.device, 2))
            self._products[dtype] = 2 * side**3 / seconds
        return self._products[dtype]

    def floor(self, *parts: Work) -> float:
        """Return the fewest seconds in which parts of work can be done one after the other."""
        return sum(
            max(p.bytes / self.copy_rate, p.flop / self.product_rate(p.dtype) if p.flop else 0.0)
            for p in parts
        )

    def share(self, seconds: float, *parts: Work) -> float:
        """Return floor over seconds."""
        return self.floor(*parts) / seconds

    def rows(self) -> list[Row]:
        """The ceilings measured so far."""
        rows = [] if self._copy is None else [Row("ceiling: copy", self._copy / 1e9, "GB/s")]
        for dtype, rate in self._products.items():
            name = str(dtype).removeprefix("torch.")
            rows.append(Row(f"ceiling: matrix product, {name}", rate / 1e9, "GFLOP/s"))
        return rows

    def _size(self, sizes: dict[str, int]) -> int:
        return sizes.get(self.device.type, sizes["cpu"])


def flop_of(work: Callable[[], object]) -> int:
    """Run work once and count the operations of matrix products, convolutions and attention."""
    # torch's counter does not know what attention is called on a CPU.
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001
    counter = FlopCounterMode(display=False, custom_mapping={attention: _attention_flop})
    with torch.no_grad(), counter:
        work()
    return int(counter.get_total_flops())


def bytes_of(*tensors: torch.Tensor | Iterable[torch.Tensor]) -> int:
    """Bytes of tensors, or of iterables of them."""
    total = 0
    for item in tensors:
        parts = [item] if isinstance(item, torch.Tensor) else item
        total += sum(part.numel() * part.element_size() for part in parts)
    return total


def _attention_flop(
    query: Any,
    key: Any,
    value: Any,
    *_args: object,
    out_shape: object = None,  # noqa: ARG001 - torch's counter hands it over
    **_more: object,
) -> int:
    return int(sdpa_flop_count(query, key, value))
