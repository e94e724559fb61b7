"""The processes that train one network together: torchrun starts them, torch.distributed connects them."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from qedeploy.errors import RequestError
from qedeploy.model.network import QuantizedNetwork
from qedeploy.model.quantizer import LsqQuantizer


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessGroup:
    """This process among `world`; process 0 writes files and speaks."""

    rank: int
    world: int
    device: torch.device

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.world > 1:
            distributed.barrier()

    def any(self, here: bool) -> bool:
        """Return whether it is so in any process."""
        return here if self.world == 1 else bool(self.total(torch.tensor([float(here)], device=self.device)) > 0)


@contextmanager
def joined() -> Iterator[ProcessGroup]:
    """Yield the group that torchrun put this process in, or a group of one; leaves it at the end."""
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    cuda = torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if cuda and local >= torch.cuda.device_count():
        raise RequestError(
            f"process {local} of this machine has no GPU of its own, there are {torch.cuda.device_count()}: start as "
            "many with torchrun --nproc-per-node"
        )
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if world == 1:
        yield ProcessGroup(rank=0, world=1, device=device)
        return
    if cuda:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield ProcessGroup(rank=rank, world=world, device=device)
    finally:
        # What DDP leaves in reference cycles has threads of its own, which must end before the group that they use.
        gc.collect()
        distributed.destroy_process_group()


class SynchronizedNorm(nn.BatchNorm2d):
    """Batch normalisation over the batches of all processes, on any device; torch's own knows only GPUs."""

    def forward(self, features: Tensor) -> Tensor:
        """Return `features` (batch, channels, height, width) normalised."""
        if not self.training:
            return super().forward(features)
        # In float64: the variance is a small difference of large sums.
        sums = torch.stack(
            [
                features.sum(dim=(0, 2, 3), dtype=torch.float64),
                features.square().sum(dim=(0, 2, 3), dtype=torch.float64),
            ]
        )
        count = features.numel() / features.shape[1] * distributed.get_world_size()
        mean, square = _total(sums) / count
        variance = (square - mean.square()).clamp(min=0).to(features.dtype)
        mean = mean.to(features.dtype)
        self._remember(mean.detach(), variance.detach() * (count / max(count - 1, 1)))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normalised: Tensor = features * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]
        return normalised

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def spread(network: QuantizedNetwork, group: ProcessGroup, parts: int) -> nn.Module:
    """Return `network` wrapped to train with the whole group, its batch in `parts` for each process.

    The steps' gradients are those of the whole batch, however it is cut. Normalisation is over all processes, and over
    each of their parts by itself.
    """
    for module in network.modules():
        if isinstance(module, LsqQuantizer) and module.step is not None and module.step.numel() == 1:
            module.parts = group.world * parts
            module.average = _average if group.world > 1 else None
    if group.world == 1:
        return network
    if group.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    else:
        for module in list(network.modules()):
            for name, child in module.named_children():
                if type(child) is nn.BatchNorm2d:
                    setattr(module, name, _with_tensors_of(child, SynchronizedNorm))
    devices = [group.device.index] if group.device.type == "cuda" else None
    with warnings.catch_warnings():
        # PyTorch 2.13 wants another name for the last option, which older ones do not know.
        warnings.simplefilter("ignore", FutureWarning)
        return nn.parallel.DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)


def on_its_own(network: QuantizedNetwork) -> None:
    """Undo what `spread` did to `network`."""
    for module in list(network.modules()):
        if isinstance(module, LsqQuantizer):
            module.parts, module.average = 1, None
        for name, child in module.named_children():
            if isinstance(child, nn.SyncBatchNorm | SynchronizedNorm):
                setattr(module, name, _with_tensors_of(child, nn.BatchNorm2d))


def _with_tensors_of(norm: nn.modules.batchnorm._BatchNorm, kind: type[nn.BatchNorm2d]) -> nn.BatchNorm2d:
    """Return a normalisation of another kind with the very tensors of `norm`: an optimizer may hold them."""
    made = kind(norm.num_features, eps=norm.eps, momentum=norm.momentum)
    made.weight, made.bias = norm.weight, norm.bias
    made.running_mean, made.running_var = norm.running_mean, norm.running_var
    made.num_batches_tracked = norm.num_batches_tracked
    return made.train(norm.training)


class _Total(torch.autograd.Function):
    """The sum over all processes; what reaches it backwards is summed likewise."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        del ctx
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        del ctx
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def _total(values: Tensor) -> Tensor:
    total: Tensor = _Total.apply(values)  # type: ignore[no-untyped-call]
    return total


def _average(values: Tensor) -> Tensor:
    distributed.all_reduce(values)
    return values / distributed.get_world_size()
