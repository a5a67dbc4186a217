"""The tile rasteriser of Gaussians on CPUs, compiled by numba at first use, then cached on disk.

Conventions are gsplat's, number for number: cameras look along +z with y down, 0.3 pixels are added to the
variances on the screen, an alpha is at most 0.999, one below 1/255 is none, and a pixel ends before its
transmittance falls to 1e-4. A tile of 16x16 pixels belongs to one thread. It walks through its Gaussians,
sorted by depth, and of each through the pixels inside its ellipse alone, row by row: on a CPU that is a tenth
of the work of asking all pixels about all Gaussians. Backward each pair of a tile and a Gaussian has a row of
its own for the gradient, so that nothing is written twice.
"""

from typing import no_type_check

import numpy as np
from numba import njit, prange

TILE = 16
CHUNK = 256  # Gaussians projected at once
DILATION = 0.3  # pixels^2
LEAST_ALPHA, MOST_ALPHA, LEAST_LIGHT = np.float32(1 / 255), np.float32(0.999), np.float32(1e-4)
HALF, ONE, ZERO = np.float32(0.5), np.float32(1), np.float32(0)
SLACK = np.float32(0.01)  # pixels, for rounding: what the ellipse itself is, alphas say
GEOMETRY = 6  # a Gaussian on the screen: centre x, y, inverse covariance xx, xy, yy, and its opacity
PAIR = GEOMETRY + 3  # and its colour: what a pair of a tile and a Gaussian has gradients of


@njit(parallel=True, cache=True)
@no_type_check
def project(means, quats, scales, opacities, view, lens, size, near):
    """Return (n, 6) GEOMETRY, depths (n), infinite where nothing is seen, and boxes (n, 4) of pixels: x from,
    to, y from, to.

    `view` (3, 4) is world to camera, `lens` fx, fy, cx, cy, `size` width and height; quaternions are wxyz, of
    any length.
    """
    n = len(means)
    geometry, boxes = np.zeros((n, GEOMETRY), np.float32), np.zeros((n, 4), np.int32)
    depths = np.full(n, np.inf, np.float32)
    for chunk in prange((n + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(n, (chunk + 1) * CHUNK)):
            opacity = np.float64(opacities[i])
            x, y, z = _to_camera(view, means[i])
            if not (z > near and abs(x) + abs(y) + z < np.inf and opacity >= LEAST_ALPHA):
                continue
            rotation, _, _ = _rotation(quats[i])
            spread = _spread(view, rotation, scales[i])
            j00, j02, _ = _slope(x, z, lens[0], lens[2], size[0])
            j11, j12, _ = _slope(y, z, lens[1], lens[3], size[1])
            a, b, c = DILATION, 0.0, DILATION
            for k in range(3):
                across, down = (
                    j00 * spread[0, k] + j02 * spread[2, k],
                    j11 * spread[1, k] + j12 * spread[2, k],
                )
                a, b, c = a + across * across, b + across * down, c + down * down
            det = a * c - b * b
            if not (det > 0 and det < np.inf):
                continue
            u, v = lens[0] * x / z + lens[2], lens[1] * y / z + lens[3]
            reach = 2 * np.log(255 * opacity)  # squared, in standard deviations
            wide, high = np.sqrt(reach * a), np.sqrt(reach * c)
            left, right = _between(u - wide, u + wide, 0, size[0] - 1)
            top, bottom = _between(v - high, v + high, 0, size[1] - 1)
            if left <= right and top <= bottom:
                geometry[i] = (u, v, c / det, -b / det, a / det, opacity)
                boxes[i] = (left, right, top, bottom)
                depths[i] = z
    return geometry, depths, boxes


@njit(cache=True)
@no_type_check
def bins(order, boxes, across, down):
    """Return where each tile's Gaussians begin in a list, one longer than the tiles, and that list (m),
    nearest first.

    `order` are the Gaussians that are seen, nearest first.
    """
    starts = np.zeros(across * down + 1, np.int64)
    for i in order:
        for row in range(boxes[i, 2] // TILE, boxes[i, 3] // TILE + 1):
            for column in range(boxes[i, 0] // TILE, boxes[i, 1] // TILE + 1):
                starts[row * across + column + 1] += 1
    for tile in range(across * down):
        starts[tile + 1] += starts[tile]
    ids, place = np.empty(starts[-1], np.int32), starts[:-1].copy()
    for i in order:
        for row in range(boxes[i, 2] // TILE, boxes[i, 3] // TILE + 1):
            for column in range(boxes[i, 0] // TILE, boxes[i, 1] // TILE + 1):
                tile = row * across + column
                ids[place[tile]] = i
                place[tile] += 1
    return starts, ids


@njit(parallel=True, cache=True, fastmath={"contract", "nsz", "arcp"})
@no_type_check
def composite(geometry, colours, depths, boxes, starts, ids, size):
    """Return colour (h, w, 3), the light left, the weighted depth and the last pair seen (h, w), or -1."""
    width, height = size
    rgb, light = np.zeros((height, width, 3), np.float32), np.ones((height, width), np.float32)
    depth, last = np.zeros((height, width), np.float32), np.full((height, width), -1, np.int64)
    across = (width + TILE - 1) // TILE
    for tile in prange(len(starts) - 1):
        x0, y0 = tile % across * TILE, tile // across * TILE
        x1, y1 = min(x0 + TILE, width) - 1, min(y0 + TILE, height) - 1
        done, alive = np.zeros((TILE, TILE), np.bool_), (x1 - x0 + 1) * (y1 - y0 + 1)
        for pair in range(starts[tile], starts[tile + 1]):
            if alive == 0:
                break
            i = ids[pair]
            u, v, opacity = geometry[i, 0], geometry[i, 1], geometry[i, 5]
            xx, xy, yy = geometry[i, 2], geometry[i, 3], geometry[i, 4]
            red, green, blue, z = colours[i, 0], colours[i, 1], colours[i, 2], depths[i]
            reach = np.float32(2 * np.log(255 * opacity))
            for row in range(max(y0, boxes[i, 2]), min(y1, boxes[i, 3]) + 1):
                dy = np.float32(row) + HALF - v
                left, right = _span(u, xx, xy, yy, dy, reach, x0, x1)
                for column in range(left, right + 1):
                    if done[row - y0, column - x0]:
                        continue
                    dx = np.float32(column) + HALF - u
                    power = HALF * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
                    alpha = min(MOST_ALPHA, opacity * np.exp(-power))
                    if alpha < LEAST_ALPHA or power < ZERO:
                        continue
                    before = light[row, column]
                    after = before * (ONE - alpha)
                    if after <= LEAST_LIGHT:
                        done[row - y0, column - x0] = True
                        alive -= 1
                        continue
                    weight = alpha * before
                    rgb[row, column, 0] += weight * red
                    rgb[row, column, 1] += weight * green
                    rgb[row, column, 2] += weight * blue
                    depth[row, column] += weight * z
                    light[row, column] = after
                    last[row, column] = pair
    return rgb, light, depth, last


@njit(parallel=True, cache=True, fastmath={"contract", "nsz", "arcp"})
@no_type_check
def composite_backward(geometry, colours, boxes, starts, ids, light, last, grad_rgb, grad_opacity):
    """Return each pair's gradients (m, PAIR): of its Gaussian's GEOMETRY and colour.

    With g = colour . grad_rgb + grad_opacity of a pair, dL/dalpha = T g - sum of w g behind it / (1 - alpha).
    """
    height, width = light.shape
    grads = np.zeros((len(ids), PAIR), np.float32)
    across = (width + TILE - 1) // TILE
    for tile in prange(len(starts) - 1):
        x0, y0 = tile % across * TILE, tile // across * TILE
        x1, y1 = min(x0 + TILE, width) - 1, min(y0 + TILE, height) - 1
        remaining = light[y0 : y1 + 1, x0 : x1 + 1].copy()
        behind = np.zeros((TILE, TILE), np.float32)
        end = last[y0 : y1 + 1, x0 : x1 + 1].max()
        for pair in range(end, starts[tile] - 1, -1):
            i = ids[pair]
            u, v, opacity = geometry[i, 0], geometry[i, 1], geometry[i, 5]
            xx, xy, yy = geometry[i, 2], geometry[i, 3], geometry[i, 4]
            red, green, blue = colours[i, 0], colours[i, 1], colours[i, 2]
            reach = np.float32(2 * np.log(255 * opacity))
            g_u = g_v = g_xx = g_xy = g_yy = g_opacity = g_red = g_green = g_blue = ZERO
            for row in range(max(y0, boxes[i, 2]), min(y1, boxes[i, 3]) + 1):
                dy = np.float32(row) + HALF - v
                left, right = _span(u, xx, xy, yy, dy, reach, x0, x1)
                for column in range(left, right + 1):
                    if last[row, column] < pair:
                        continue
                    dx = np.float32(column) + HALF - u
                    power = HALF * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
                    bell = np.exp(-power)
                    alpha = min(MOST_ALPHA, opacity * bell)
                    if alpha < LEAST_ALPHA or power < ZERO:
                        continue
                    r, c = row - y0, column - x0
                    passes = ONE / (ONE - alpha)
                    before = remaining[r, c] * passes
                    weight = alpha * before
                    d_red, d_green = grad_rgb[row, column, 0], grad_rgb[row, column, 1]
                    d_blue = grad_rgb[row, column, 2]
                    g = red * d_red + green * d_green + blue * d_blue + grad_opacity[row, column]
                    g_red += weight * d_red
                    g_green += weight * d_green
                    g_blue += weight * d_blue
                    if opacity * bell <= MOST_ALPHA:
                        g_alpha = before * g - behind[r, c] * passes
                        g_opacity += bell * g_alpha
                        g_power = -alpha * g_alpha
                        g_u -= g_power * (xx * dx + xy * dy)
                        g_v -= g_power * (xy * dx + yy * dy)
                        g_xx += g_power * HALF * dx * dx
                        g_xy += g_power * dx * dy
                        g_yy += g_power * HALF * dy * dy
                    behind[r, c] += weight * g
                    remaining[r, c] = before
            grads[pair] = (g_u, g_v, g_xx, g_xy, g_yy, g_opacity, g_red, g_green, g_blue)
    return grads


@njit(cache=True)
@no_type_check
def gather(ids, pairs, n):
    """Return the sums (n, PAIR) of the pairs' gradients, by Gaussian."""
    total = np.zeros((n, PAIR), np.float32)
    for pair in range(len(ids)):
        total[ids[pair]] += pairs[pair]
    return total


@njit(parallel=True, cache=True)
@no_type_check
def project_backward(means, quats, scales, view, lens, size, geometry, depths, grads):
    """Return the gradients of means, quaternions, scales from those (n, PAIR) of `project`'s values."""
    n = len(means)
    g_means, g_scales = np.zeros((n, 3), np.float32), np.zeros((n, 3), np.float32)
    g_quats = np.zeros((n, 4), np.float32)
    for chunk in prange((n + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(n, (chunk + 1) * CHUNK)):
            if not depths[i] < np.inf:
                continue
            g_u, g_v, g_xx, g_xy, g_yy = grads[i, 0], grads[i, 1], grads[i, 2], grads[i, 3], grads[i, 4]
            x, y, z = _to_camera(view, means[i])
            rotation, unit, length = _rotation(quats[i])
            spread = _spread(view, rotation, scales[i])
            j00, j02, inside_x = _slope(x, z, lens[0], lens[2], size[0])
            j11, j12, inside_y = _slope(y, z, lens[1], lens[3], size[1])
            # through the inverse: dL/dcovariance = -P G P, with P the inverse and G its symmetric gradient
            p, q, r = np.float64(geometry[i, 2]), np.float64(geometry[i, 3]), np.float64(geometry[i, 4])
            half = g_xy / 2
            m00, m01 = g_xx * p + half * q, g_xx * q + half * r
            m10, m11 = half * p + g_yy * q, half * q + g_yy * r
            c00, c01, c11 = -(p * m00 + q * m10), -(p * m01 + q * m11), -(q * m01 + r * m11)
            g00 = g02 = g11 = g12 = 0.0
            g_spread = np.zeros((3, 3))
            for k in range(3):
                s0, s1, s2 = spread[0, k], spread[1, k], spread[2, k]
                across, down = j00 * s0 + j02 * s2, j11 * s1 + j12 * s2
                g_across, g_down = 2 * (c00 * across + c01 * down), 2 * (c01 * across + c11 * down)
                g00, g02 = g00 + g_across * s0, g02 + g_across * s2
                g11, g12 = g11 + g_down * s1, g12 + g_down * s2
                g_spread[0, k], g_spread[1, k] = g_across * j00, g_down * j11
                g_spread[2, k] = g_across * j02 + g_down * j12
            g_x, g_y = j00 * g_u, j11 * g_v
            g_z = -(j00 * x * g_u + j11 * y * g_v) / z - (j00 * g00 + j11 * g11) / z
            # where x / z is clamped, the slope j02 does not depend on x
            g_x, g_y = g_x - inside_x * j00 / z * g02, g_y - inside_y * j11 / z * g12
            g_z -= (1 + inside_x) * j02 / z * g02 + (1 + inside_y) * j12 / z * g12
            g_rotation = np.zeros((3, 3))
            for k in range(3):
                g_means[i, k] = view[0, k] * g_x + view[1, k] * g_y + view[2, k] * g_z
                for axis in range(3):
                    turned = 0.0
                    for row in range(3):
                        turned += view[row, axis] * g_spread[row, k]
                    g_scales[i, k] += turned * rotation[axis, k]
                    g_rotation[axis, k] = turned * scales[i, k]
            if length > 0:
                g_quats[i] = _rotation_backward(unit, length, g_rotation)
    return g_means, g_quats, g_scales


@njit
@no_type_check
def _to_camera(view, mean):
    """Return a point in the camera's axes, in double precision as all of the projection."""
    x, y, z = np.float64(mean[0]), np.float64(mean[1]), np.float64(mean[2])
    return (
        view[0, 0] * x + view[0, 1] * y + view[0, 2] * z + view[0, 3],
        view[1, 0] * x + view[1, 1] * y + view[1, 2] * z + view[1, 3],
        view[2, 0] * x + view[2, 1] * y + view[2, 2] * z + view[2, 3],
    )


@njit
@no_type_check
def _rotation(quat):
    """Return the matrix (3, 3) of a quaternion, its unit and its length; the identity and 0 of none."""
    w, x, y, z = np.float64(quat[0]), np.float64(quat[1]), np.float64(quat[2]), np.float64(quat[3])
    length = np.sqrt(w * w + x * x + y * y + z * z)
    if not (length > 1e-12 and length < np.inf):
        return np.eye(3), (1.0, 0.0, 0.0, 0.0), 0.0
    w, x, y, z = w / length, x / length, y / length, z / length
    matrix = np.empty((3, 3))
    matrix[0] = (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y))
    matrix[1] = (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x))
    matrix[2] = (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y))
    return matrix, (w, x, y, z), length


@njit
@no_type_check
def _rotation_backward(unit, length, g):
    """Return the gradient of a quaternion of this unit and length from that (3, 3) of its matrix."""
    w, x, y, z = unit
    g_w = 2 * (x * (g[2, 1] - g[1, 2]) + y * (g[0, 2] - g[2, 0]) + z * (g[1, 0] - g[0, 1]))
    g_x = 2 * (w * (g[2, 1] - g[1, 2]) + y * (g[0, 1] + g[1, 0]) + z * (g[0, 2] + g[2, 0]))
    g_x -= 4 * x * (g[1, 1] + g[2, 2])
    g_y = 2 * (w * (g[0, 2] - g[2, 0]) + x * (g[0, 1] + g[1, 0]) + z * (g[1, 2] + g[2, 1]))
    g_y -= 4 * y * (g[0, 0] + g[2, 2])
    g_z = 2 * (w * (g[1, 0] - g[0, 1]) + x * (g[0, 2] + g[2, 0]) + y * (g[1, 2] + g[2, 1]))
    g_z -= 4 * z * (g[0, 0] + g[1, 1])
    along = g_w * w + g_x * x + g_y * y + g_z * z
    g_w, g_x, g_y, g_z = g_w - along * w, g_x - along * x, g_y - along * y, g_z - along * z
    return g_w / length, g_x / length, g_y / length, g_z / length


@njit
@no_type_check
def _spread(view, rotation, scale):
    """Return W R S (3, 3): the Gaussian's axes as vectors in the camera's."""
    spread = np.zeros((3, 3))
    for row in range(3):
        for k in range(3):
            for axis in range(3):
                spread[row, k] += view[row, axis] * rotation[axis, k]
            spread[row, k] *= scale[k]
    return spread


@njit
@no_type_check
def _slope(x, z, focal, centre, pixels):
    """Return du/dx, du/dz and whether x is inside: x / z is clamped to 15 % beyond the picture's sides."""
    margin = 0.15 * pixels / focal
    low, high = -centre / focal - margin, (pixels - centre) / focal + margin
    seen = x / z
    return focal / z, -focal * min(max(seen, low), high) / z, seen >= low and seen <= high


@njit
@no_type_check
def _between(low, high, first, last):
    """Return the first and the last pixel whose centre is in [low, high], of those from `first` to `last`."""
    return int(np.ceil(max(low - HALF, first))), int(np.floor(min(high - HALF, last)))


@njit
@no_type_check
def _span(u, xx, xy, yy, dy, reach, x0, x1):
    """Return the columns of a row that may lie in the ellipse xx dx^2 + 2 xy dx dy + yy dy^2 <= reach."""
    under = xy * xy * dy * dy - xx * (yy * dy * dy - reach)
    if under < ZERO or not xx > ZERO:
        return (1, 0) if xx > ZERO else (x0, x1)
    wide, middle = np.sqrt(under) / xx + SLACK, u - xy * dy / xx
    return _between(middle - wide, middle + wide, x0, x1)
