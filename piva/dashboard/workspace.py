"""The W&B workspace that compares scores: trade-off, metrics by score and type, training, pictures."""

from typing import Any

import wandb
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

BARS = ("eval/clip", "eval/lpips", "eval/psnr", "truth/psnr", "truth/psnr_inside", "truth/psnr_outside")
CURVES = ("train/direction_rms", "train/loss_source", "train/loss_target")
PICTURES = ("pictures/before", "pictures/after", "pictures/truth", "pictures/turntable")


def make(entity: str, project: str, name: str) -> str:
    """Return the workspace as W&B's JSON, without a server."""
    text: str = _workspace(entity, project, name)._to_model().model_dump_json(by_alias=True, indent=2)
    return text + "\n"


def save(entity: str | None, project: str, name: str) -> str:
    """Save it as a view of the project and return its URL; needs a server and a login."""
    owner = entity or wandb.Api().default_entity
    url: str = _workspace(owner, project, name).save().url
    return url


def _workspace(entity: str, project: str, name: str) -> Any:
    lam = wr.Config("score.lam")
    clip, lpips = wr.SummaryMetric("eval/clip"), wr.SummaryMetric("eval/lpips")
    tradeoff = ws.Section(
        name="Trade-off",
        is_open=True,
        panels=[
            wr.CustomChart(  # a point a run; a line joins those of a score by LPIPS, that is along lambda
                query={"summaryTable": {"tableKey": "tables/tradeoff"}},
                chart_name="wandb/line/v0",
                chart_fields={"x": "LPIPS", "y": "CLIP", "stroke": "score"},
                chart_strings={"title": "CLIP against LPIPS, a line a score"},
            ),
            wr.ScatterPlot(title="CLIP against LPIPS, coloured by lambda", x=lpips, y=clip, z=lam),
        ],
    )
    bars = ws.Section(
        name="By score",
        is_open=True,
        panels=[
            wr.BarPlot(
                title=key, metrics=[wr.Metric(key)], groupby=wr.Metric("JobType"), groupby_aggfunc="mean"
            )
            for key in BARS
        ],
    )
    types = ws.Section(
        name="By type of edit",
        is_open=True,
        panels=[
            wr.CustomChart(
                query={"summaryTable": {"tableKey": "tables/edits"}},
                chart_name="wandb/bar/v0",
                chart_fields={"label": "type", "value": key},
                chart_strings={"title": f"{key} by type"},
            )
            for key in BARS[:4]
        ],
    )
    training = ws.Section(name="Steps", panels=[wr.LinePlot(title=key, x="step", y=[key]) for key in CURVES])
    pictures = ws.Section(
        name="Pictures", is_open=True, panels=[wr.MediaBrowser(media_keys=[key]) for key in PICTURES]
    )
    return ws.Workspace(
        entity=entity, project=project, name=name, sections=[tradeoff, bars, types, training, pictures]
    )
