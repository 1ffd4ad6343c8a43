"""The rows of one call, from an engine or a user to the kernels."""

from __future__ import annotations

from typing import Any, NamedTuple

from . import devices


class Batch(NamedTuple):
    """Labels, margins and sample weights of some rows. They may be an engine's own memory: nothing writes to them.

    Their shapes agree once a loss has taken them. Their values are checked only after a kernel has seen them.
    """

    labels: Any
    margins: Any
    sample_weight: Any

    @property
    def on_device(self) -> bool:
        """Whether to compute on the CUDA device, because some of the arrays are there."""
        return any(map(devices.on_device, self))

    def on_host(self) -> Batch:
        return Batch(*(devices.to_host(name, array) for name, array in zip(self._fields, self, strict=True)))
