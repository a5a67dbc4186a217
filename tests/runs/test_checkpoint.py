from pathlib import Path

import pytest
import torch

from piva.runs.checkpoint import KEPT, Checkpoints, load


def test_an_optimisers_state_comes_back_as_it_was(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.randn(3, 2))
    optimiser = torch.optim.Adam([weight], lr=1 / 3, betas=(0.9, 0.99))
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 7)
    weight.sum().backward()
    optimiser.step()
    decay.step()
    tree = {
        "optimiser": optimiser.state_dict(),
        "decay": decay.state_dict(),
        "generator": torch.Generator().manual_seed(3).get_state(),
        "cells": torch.eye(2, dtype=torch.bool),
        "rows": [{"id": "a/b", "x": float("nan"), "y": None, "on": True}],
    }
    checkpoints = Checkpoints(tmp_path / "a/b")
    checkpoints.save(5, tree)
    newest = checkpoints.newest()
    assert newest is not None
    assert newest[0] == 5
    found = load(newest[1])
    assert repr(found) == repr(tree)  # numbers, keys, tuples and order; of tensors four digits
    for name in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(found["optimiser"]["state"][0][name], tree["optimiser"]["state"][0][name])
    assert torch.equal(found["generator"], tree["generator"])


def test_the_newest_few_are_kept_in_the_order_of_steps(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (8, 9, 10, 100):
        checkpoints.save(step, {"x": torch.tensor(step)})
    assert len(list(tmp_path.iterdir())) == KEPT == 2
    assert checkpoints.newest() == (100, max(tmp_path.iterdir()))
    max(tmp_path.iterdir()).write_bytes(b"")
    found = checkpoints.newest()
    assert found is not None
    assert load(found[1]) == {"x": torch.tensor(10)}
    checkpoints.clear()
    assert checkpoints.newest() is None


def test_a_state_that_is_not_finite_is_not_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"theta": torch.ones(2)})
    with pytest.raises(FloatingPointError, match="after step 2 state/theta is not finite"):
        checkpoints.save(2, {"state": {"theta": torch.tensor([1.0, torch.nan])}})
    found = checkpoints.newest()
    assert found is not None
    assert found[0] == 1


def test_what_cannot_be_read_back_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="decay/rule: a checkpoint cannot hold a function"):
        Checkpoints(tmp_path).save(1, {"decay": {"rule": test_a_state_that_is_not_finite_is_not_kept}})
