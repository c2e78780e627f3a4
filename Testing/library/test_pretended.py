"""The pretended device catches what a GPU would: faults are planted here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from library.pretended import pretending

ON = pytest.mark.parametrize("device", ["cuda", "mps"])


@ON
def test_it_computes(device):
    with pretending(device) as pretence:
        x = torch.arange(6.0, device=device).view(2, 3).requires_grad_()
        y = (x @ x.T).sum() * 2 + torch.tensor(1.0)  # a number on the CPU is allowed
        y.backward()
        assert x.device.type == x.grad.device.type == y.device.type == device
        assert pretence.waits == {}
        np.testing.assert_array_equal(x.grad.cpu().numpy(), np.array([[12, 20, 28]] * 2))
        assert pretence.waits == {"to the CPU": 1}
        assert x[:, [2, 0]].tolist() == [[2, 0], [5, 3]]
        assert float(y.detach()) == 2 * (5 + 14 * 2 + 50) + 1


@ON
@pytest.mark.parametrize(
    "fault",
    [
        lambda x: x + torch.ones(3),
        lambda x: x[None] @ torch.ones(3, 3),
        lambda x: torch.cat([x, torch.zeros(1)]),
        lambda x: x.index_add_(0, torch.arange(3), x),
        lambda x: torch.ones(3)[torch.arange(3, device=x.device)],
        lambda x: torch.where(torch.ones(3, dtype=torch.bool), x, x),
    ],
)
def test_operands_on_two_devices_are_refused(device, fault):
    with pretending(device), pytest.raises(RuntimeError, match=r"device|on the CPU"):
        fault(torch.ones(3, device=device))


@ON
def test_a_fault_in_a_backward_pass_is_found(device):
    class Planted(torch.autograd.Function):
        @staticmethod
        def forward(_, x):
            return x.clone()

        @staticmethod
        def backward(_, gradient):
            return gradient * torch.ones(3)

    with pretending(device):
        x = torch.ones(3, device=device).requires_grad_()
        with pytest.raises(RuntimeError, match="two devices"):
            Planted.apply(x).sum().backward()


@ON
def test_what_is_there_is_no_array(device):
    with pretending(device):
        x = torch.ones(3, device=device)
        for fault in (x.numpy, lambda: np.asarray(x)):
            with pytest.raises((TypeError, RuntimeError)):
                fault()


@ON
def test_a_generator_of_the_cpu_is_refused(device):
    with pretending(device), pytest.raises(RuntimeError, match="generator"):
        torch.rand(3, device=device, generator=torch.Generator())


def test_mps_has_no_float64():
    with pretending("mps"):
        for fault in (
            lambda: torch.ones(3, dtype=torch.float64, device="mps"),
            lambda: torch.ones(3, device="mps").double(),
            lambda: torch.from_numpy(np.ones(3)).to("mps"),
        ):
            with pytest.raises(TypeError, match="float64"):
                fault()
        assert torch.from_numpy(np.ones(3)).to("mps", torch.float32).dtype == torch.float32


def test_waiting_is_counted():
    with pretending("cuda") as pretence:
        x = torch.ones(3, device="cuda")
        x[x > 0]
        x.nonzero()
        float(x[0])
        x[torch.arange(2)]
        torch.ones(2).to("cuda")
        assert sum(pretence.waits.values()) == 5
        torch.ones(2).pin_memory().to("cuda", non_blocking=True)
        assert sum(pretence.waits.values()) == 5


def test_modules_move():
    with pretending("cuda"):
        layer = torch.nn.Linear(2, 2).to("cuda")
        assert isinstance(layer.weight, torch.nn.Parameter)
        layer(torch.ones(1, 2, device="cuda")).sum().backward()
        assert layer.weight.grad.device.type == "cuda"
        with pytest.raises(RuntimeError, match="two devices"):
            layer(torch.ones(1, 2))
