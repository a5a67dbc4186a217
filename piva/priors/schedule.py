"""The noise schedule: x_t = alpha_t x + sigma_t eps, and the weights w(t). Plain floats, no torch."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Schedule:
    """`alphas_cumprod[t]` for t = 0 .. T-1, as the prior's scheduler defines them."""

    alphas_cumprod: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def alpha(self, t: int) -> float:
        return math.sqrt(self.alphas_cumprod[t])

    def sigma(self, t: int) -> float:
        return math.sqrt(1.0 - self.alphas_cumprod[t])

    def noise_to_signal(self, t: int) -> float:
        """Return s = sigma / alpha, the noise's deviation in x_t / alpha = x + s eps."""
        return self.sigma(t) / self.alpha(t)

    def noised(self, x: Any, noise: Any, t: int) -> Any:
        """Return x_t for latents `x` and `noise` of one shape."""
        return self.alpha(t) * x + self.sigma(t) * noise

    def denoised(self, noisy: Any, eps: Any, t: int) -> Any:
        """Return the x that x_t is of if its noise is `eps`."""
        return (noisy - self.sigma(t) * eps) / self.alpha(t)

    def weight(self, name: str, t: int) -> float:
        """Return w(t): `sigma_squared` (the paper, A.1), `uniform` (DDS as published), or 1 for `own`: a
        direction that has its weight in its coefficients.
        """
        return {"sigma_squared": self.sigma(t) ** 2, "uniform": 1.0, "own": 1.0}[name]
