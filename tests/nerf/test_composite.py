import torch

from piva.nerf.composite import composite, visible


def packed(counts, seed=0, dtype=torch.float64):
    """Random samples: `counts[r]` of them on ray r, with gaps between."""
    g = torch.Generator().manual_seed(seed)
    ray_indices = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    m = len(ray_indices)
    t_starts = torch.arange(m, dtype=dtype) * 0.3 + torch.rand(m, generator=g, dtype=dtype) * 0.1
    t_ends = t_starts + 0.05 + 0.1 * torch.rand(m, generator=g, dtype=dtype)
    sigmas = 8 * torch.rand(m, generator=g, dtype=dtype)
    colours = torch.rand(m, 3, generator=g, dtype=dtype)
    return sigmas, colours, ray_indices, t_starts, t_ends


def one_ray(sigmas, colours, t_starts, t_ends):
    """The textbook sum over the samples of one ray."""
    light, rgb, opacity, distance = 1.0, 0, 0, 0
    for sigma, colour, start, end in zip(sigmas, colours, t_starts, t_ends, strict=True):
        weight = light * (1 - torch.exp(-sigma * (end - start)))
        rgb, opacity, distance = (
            rgb + weight * colour,
            opacity + weight,
            distance + weight * (start + end) / 2,
        )
        light = light - weight
    return rgb, opacity, distance / opacity


def test_gradcheck():
    sigmas, colours, *rest = packed([3, 0, 5, 1])
    sigmas, colours = sigmas.requires_grad_(), colours.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, c: composite(s, c, *rest, 5)[:2], (sigmas, colours))


def test_agrees_with_the_textbook_sum_and_leaves_rays_without_samples_empty():
    sigmas, colours, ray_indices, t_starts, t_ends = packed([4, 0, 7])
    rgb, opacity, depth = composite(sigmas, colours, ray_indices, t_starts, t_ends, 4)
    for ray in (0, 2):
        mine = ray_indices == ray
        alone = one_ray(sigmas[mine], colours[mine], t_starts[mine], t_ends[mine])
        for got, wanted in zip((rgb, opacity, depth), alone, strict=True):
            torch.testing.assert_close(got[ray], wanted)
    for empty in (1, 3):
        assert rgb[empty].tolist() == [0, 0, 0]
        assert opacity[empty] == depth[empty] == 0


def test_weights_sum_to_opacity():
    sigmas, colours, ray_indices, t_starts, t_ends = packed([6, 2, 9])
    rgb, opacity, _ = composite(sigmas, torch.ones_like(colours), ray_indices, t_starts, t_ends, 3)
    torch.testing.assert_close(rgb, opacity[:, None].expand(3, 3))
    # Independently: 1 - exp(-total optical depth).
    depth = torch.zeros(3, dtype=torch.float64).index_add(0, ray_indices, sigmas * (t_ends - t_starts))
    torch.testing.assert_close(opacity, 1 - torch.exp(-depth))


def test_a_long_list_keeps_its_precision():
    """With a float32 running sum the last ray is off by more than 1e-3."""
    sigmas, colours, ray_indices, t_starts, t_ends = packed([500] * 400, dtype=torch.float32)
    dense = (sigmas * 20, colours, ray_indices, t_starts, t_ends)
    rgb, opacity, _ = composite(*dense, 400)
    alone = composite(
        *(v[-500:] for v in dense[:2]), torch.zeros(500, dtype=torch.long), t_starts[-500:], t_ends[-500:], 1
    )
    torch.testing.assert_close(rgb[-1:], alone[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(opacity[-1:], alone[1], atol=1e-6, rtol=0)


def test_visible_keeps_what_enough_light_reaches():
    # Transmittance before the samples: 1, e^-2 = 0.14, e^-4 = 0.018 on the first ray; 1 on the second.
    kept = visible(torch.full((4,), 2.0), torch.tensor([0, 0, 0, 1]), torch.ones(4), 2, least=0.1)
    assert kept.tolist() == [0, 1, 3]
