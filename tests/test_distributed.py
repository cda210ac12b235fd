"""N processes with batch B equal one process with batch N·B, in loss and gradient."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from hncse import losses
from hncse.losses import gather_batch

PRESETS = ["simcse", "pm-intended", "pm-as-released", "hnm-as-released", "pm+hnm"]
ROWS = 6


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    x1, x2 = (torch.randn(2 * ROWS, 5, generator=g, dtype=torch.float64) + 1 for _ in range(2))
    weight = torch.randn(5, 4, generator=g, dtype=torch.float64)
    groups = torch.tensor([0, 1, 2, 3, 4, 5, 6, 1, 7, 8, 9, 10])  # a copy across the two processes
    return x1, x2, weight, groups


def worker(rank: int, out: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    # a file, not a port: a port found free a moment ago may be taken by now
    dist.init_process_group("gloo", init_method=f"file://{out}/rendezvous", rank=rank, world_size=2)
    x1, x2, start, groups = inputs()
    mine = slice(rank * ROWS, (rank + 1) * ROWS)
    results = {}
    for preset in PRESETS:
        model = torch.nn.Linear(5, 4, bias=False).double()
        model.weight.data = start.T.clone()
        ddp = torch.nn.parallel.DistributedDataParallel(model)
        loss = losses.build(preset)
        # one forward through DDP, as in training: both views at once
        z1, z2 = ddp(torch.cat([x1[mine], x2[mine]])).chunk(2)
        value = loss(z1, z2, groups=groups[mine]).loss
        value.backward()
        results[preset] = (value.detach(), model.weight.grad.clone())
    torch.save(results, f"{out}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    out = tmp_path_factory.mktemp("ddp")
    mp.spawn(worker, args=(str(out),), nprocs=2)
    return [torch.load(Path(out) / f"rank{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("preset", PRESETS)
def test_two_processes_equal_one(preset, two_processes):
    x1, x2, start, groups = inputs()
    weight = start.clone().requires_grad_()
    value = losses.build(preset)(x1 @ weight, x2 @ weight, groups=groups).loss
    (grad,) = torch.autograd.grad(value, weight)
    for loss, seen in (result[preset] for result in two_processes):
        assert abs(float(loss - value.detach())) < 1e-10
        torch.testing.assert_close(seen.T, grad, atol=1e-10, rtol=1e-10)


def test_one_process_gathers_nothing():
    x = torch.randn(3, 2)
    assert gather_batch(x) is x
