"""A plain reference of drawing Gaussians: all pixels against all Gaussians, in double precision, by autograd.

The arithmetic is gsplat's (`_torch_impl`), written from the papers: Zwicker et al. 2002, Kerbl et al. 2023.
"""

import torch
import torch.nn.functional as F

from piva.cameras.poses import orbit


def some_gaussians(n, seed=0, degree=0, dtype=torch.float32):
    """Return means, quats, scales, opacities, sh of n Gaussians around the origin; two of them needles."""
    g = torch.Generator().manual_seed(seed)
    means = torch.randn(n, 3, generator=g) * 0.5
    scales = torch.rand(n, 3, generator=g) * 0.15 + 0.01
    scales[:2, 0] = 1e-4
    opacities = torch.rand(n, generator=g) * 0.9 + 0.08
    sh = torch.randn(n, (degree + 1) ** 2, 3, generator=g) * 0.4
    return [x.to(dtype) for x in (means, torch.randn(n, 4, generator=g), scales, opacities, sh)]


def camera(azimuth=30.0, elevation=20.0, distance=4.0):
    """Return world to camera (4, 4) in OpenCV's axes."""
    c2w = torch.from_numpy(orbit(azimuth, elevation, distance)).double()
    return torch.linalg.inv(c2w @ torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=torch.float64))).float()


def rotations(quats):
    w, x, y, z = F.normalize(quats, dim=1).unbind(1)
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
    rows += [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]
    rows += [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
    return torch.stack(rows, 1).view(-1, 3, 3)


def projected(means, quats, scales, w2c, lens):
    """Return centres (n, 2), covariances (n, 2, 2) with 0.3 pixels^2 more, depths (n)."""
    turn, (x, y, z) = w2c[:3, :3], (means @ w2c[:3, :3].T + w2c[:3, 3]).unbind(1)
    spread = turn @ rotations(quats) * scales[:, None]
    margin_x, margin_y = 0.15 * lens.width / lens.fx, 0.15 * lens.height / lens.fy
    tx = (x / z).clamp(-lens.cx / lens.fx - margin_x, (lens.width - lens.cx) / lens.fx + margin_x)
    ty = (y / z).clamp(-lens.cy / lens.fy - margin_y, (lens.height - lens.cy) / lens.fy + margin_y)
    nil = torch.zeros_like(x)
    rows = [lens.fx / z, nil, -lens.fx * tx / z, nil, lens.fy / z, -lens.fy * ty / z]
    slopes = torch.stack(rows, 1).view(-1, 2, 3) @ spread
    covariance = slopes @ slopes.transpose(1, 2) + 0.3 * torch.eye(2, dtype=x.dtype)
    return torch.stack([lens.fx * x / z + lens.cx, lens.fy * y / z + lens.cy], 1), covariance, z


def drawn(means, quats, scales, opacities, colours, w2c, lens, near=0.01):
    """Return colour (h, w, 3), opacity (h, w) and mean depth (h, w)."""
    centres, covariance, z = projected(means, quats, scales, w2c, lens)
    order = z.detach().argsort()
    order = order[z[order] > near]
    v, u = torch.meshgrid(torch.arange(lens.height), torch.arange(lens.width), indexing="ij")
    off = torch.stack([u, v], -1).to(z.dtype)[..., None, :] + 0.5 - centres[order]  # (h, w, n, 2)
    power = torch.einsum("hwni,nij,hwnj->hwn", off, covariance[order].inverse(), off) / 2
    alpha = (opacities[order] * torch.exp(-power)).clamp(max=0.999)
    alpha = torch.where(alpha < 1 / 255, 0, alpha)
    after = (1 - alpha).cumprod(-1)
    alpha = torch.where(after <= 1e-4, 0, alpha)  # what ends a pixel is not drawn, nor what follows
    light = torch.cat([torch.ones_like(alpha[..., :1]), (1 - alpha).cumprod(-1)], -1)
    weights = alpha * light[..., :-1]
    opacity = weights.sum(-1)
    depth = (weights * z[order]).sum(-1) / opacity.clamp(min=1e-10)
    return weights @ colours[order], opacity, depth
