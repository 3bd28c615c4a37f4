"""PyTorch's tensors as a backend of nnx. `pip install ./examples/backends/nnx_torch`, then `NNX_BACKEND=torch`.

An example of a plugin over a library that is not NumPy's cousin: its arrays are no NumPy arrays, its dtypes print as
`torch.float32`, and its namespace is the Array API's only by way of `array_api_compat`. It imports nothing of nnx.
"""

import math
from importlib.util import find_spec
from typing import Any

import numpy as np

Tensor = Any
HostArray = np.ndarray[Any, Any]

_LOW = 0xFFFFFFFF


class TorchBackend:
    """The required members, and what PyTorch cannot do as nnx composes it: sums of unsigned 64-bit numbers."""

    name = "torch"

    def __init__(self) -> None:
        import array_api_compat.torch as xp
        import torch

        self.xp: Any = xp
        self._torch = torch

    @classmethod
    def unavailable(cls) -> str | None:
        missing = [module for module in ("torch", "array_api_compat") if find_spec(module) is None]
        names = " ".join(missing).replace("_", "-")
        return f"{' and '.join(missing)} cannot be found; install with: pip install {names}" if missing else None

    def to_device(self, host: HostArray, /) -> Tensor:
        # A copy in the order of rows: PyTorch takes no negative strides, and warns of read-only memory.
        return self._torch.from_numpy(np.array(host, order="C"))

    def to_host(self, array: Tensor, /) -> HostArray:
        host: HostArray = array.numpy()
        return host

    def matmul(self, a: Tensor, b: Tensor, /, *, out: Tensor | None = None) -> Tensor:
        return self._torch.matmul(a, b, out=out)

    def synchronize(self) -> None:
        pass

    def device_info(self) -> dict[str, str]:
        return {"device": "CPU", "torch": self._torch.__version__, "threads": str(self._torch.get_num_threads())}

    # Random words in signed 64-bit numbers, whose products and sums wrap to the same bits ---------------------------

    def _words(self, rng: Tensor, size: int, row: int) -> Tensor:
        """Philox4x32-10: `size` words, each in an int64, from the word rng[6] * row on."""
        torch = self._torch
        wide = rng.to(torch.int64)
        block, skipped = divmod(int(wide[6]) * row, 4)
        c0 = torch.arange(block, block + (skipped + size + 3) // 4)
        c1, c2, c3 = (torch.zeros_like(c0) + wide[i] for i in (2, 3, 4))
        k0, k1 = wide[0], wide[1]
        for _ in range(10):
            p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
            c0, c1, c2, c3 = (p1 >> 32 & _LOW) ^ c1 ^ k0, p1 & _LOW, (p0 >> 32 & _LOW) ^ c3 ^ k1, p0 & _LOW
            k0, k1 = (k0 + 0x9E3779B9) & _LOW, (k1 + 0xBB67AE85) & _LOW
        return torch.stack((c0, c1, c2, c3), dim=1).reshape(-1)[skipped : skipped + size]

    def philox(self, rng: Tensor, size: int, row: int = 1) -> Tensor:
        return self._words(rng, size, row).to(self._torch.uint32)

    def dropout(
        self, x: Tensor, rng: Tensor, factor: Tensor, *, out: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        kept = (self._words(rng, x.numel(), math.prod(x.shape[1:])) >= rng[5].to(self._torch.int64)).reshape(x.shape)
        if mask is not None:
            mask.copy_(kept)
        return self._torch.mul(x * kept, factor, out=out)
