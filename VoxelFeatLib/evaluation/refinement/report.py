"""The files that a refinement evaluation leaves: CSV, JSON, Markdown and dots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from VoxelFeatLib.evaluation.fields import BackboneChoice
from VoxelFeatLib.evaluation.grouping import ALL, labels_of, methods_of
from VoxelFeatLib.evaluation.refinement.dots import draw_dots
from VoxelFeatLib.evaluation.refinement.evaluation import RefinementEvaluation
from VoxelFeatLib.evaluation.refinement.published import PUBLISHED_METHODS, published_dice
from VoxelFeatLib.evaluation.refinement.results import RefinementResult
from VoxelFeatLib.evaluation.refinement.summary import Line, lines
from VoxelFeatLib.evaluation.refinement.titles import PAPER_TITLES, titles_of
from VoxelFeatLib.evaluation.writing import (
    markdown_table,
    markdown_unmeasured,
    write_json,
    write_rows,
    write_text,
)


@dataclass(frozen=True)
class Metric:
    """How a metric is shown.

    Attributes:
        field: Its name in `Scores`.
        title: For people.
        digits: After the point.
    """

    field: str
    title: str
    digits: int

    def text(self, line: Line) -> str:
        """Return mean and, of several targets, standard deviation."""
        mean, spread = (getattr(part, self.field) for part in (line.mean, line.deviation))
        text = f"{mean:.{self.digits}f}"
        return f"{text} ± {spread:.{self.digits}f}" if line.targets > 1 else text


METRICS = (
    Metric("dice", "Dice", 3),
    Metric("hd95_mm", "HD95, mm", 2),
    Metric("reference_to_prediction_mm", "Mean distance reference to prediction, mm", 2),
    Metric("prediction_to_reference_mm", "Mean distance prediction to reference, mm", 2),
)


def write_report(
    folder: Path, evaluation: RefinementEvaluation, backbone: BackboneChoice
) -> list[Line]:
    """Write `refinement.csv`, `refinement.json`, `refinement.md` and `refinement.png`.

    Args:
        folder: Exists.
        evaluation: Has at least one result.
        backbone: Whose features were probed.

    Returns:
        What they say.

    Raises:
        InputError: A file cannot be written.
    """
    found = lines(evaluation.results)
    header = [part.name for part in fields(RefinementResult)]
    rows = [list(asdict(result).values()) for result in evaluation.results]
    write_rows(folder / "refinement.csv", header, rows)
    summary = {
        **evaluation.protocol(),
        "methods": {method.name: method.settings for method in evaluation.methods},
        "lines": [line.as_json() for line in found],
        "published_dice": {
            line.label: published_dice(line.label) for line in found if published_dice(line.label)
        },
        "failures": [asdict(failure) for failure in evaluation.failures],
        "left_out": evaluation.left_out,
    }
    write_json(folder / "refinement.json", summary)
    write_text(folder / "refinement.md", markdown(found, evaluation, backbone))
    draw_dots(folder / "refinement.png", found, titles_of(backbone.name))
    return found


def markdown(
    found: Sequence[Line], evaluation: RefinementEvaluation, backbone: BackboneChoice
) -> str:
    """Return a table for each metric, labels down and methods across, as Markdown."""
    titles = titles_of(backbone.name)
    parts = ["# Refinement of coarse masks", _protocol(evaluation, backbone.words, titles)]
    for metric in METRICS:
        parts += [f"## {metric.title}", _table(found, metric, titles)]
    parts += ["## Seconds, median", _seconds(found, titles)]
    parts += markdown_unmeasured(evaluation.left_out, evaluation.failures)
    return "\n\n".join(parts) + "\n"


def _protocol(evaluation: RefinementEvaluation, features: str, titles: Mapping[str, str]) -> str:
    text = (
        f"Noisy masks are the references in {evaluation.noise} (nearest neighbour, centred) and "
        "back; no method sees more of a reference than that. Scored within the reference's box "
        "grown by 5 voxels. Mean ± standard deviation over cases. Of a method that predicted "
        f"nothing, distances are the box's diagonal. Probes are on features of {features}; "
        f"{titles['sam-probe']} has them upsampled linearly from slices, the VoxelFeat methods "
        "from the field."
    )
    if any(published_dice(result.label) for result in evaluation.results):
        text += (
            "\n\nColumns “paper” are what the method’s paper reports (VoxelFeat, MIDL 2025): other "
            "cases, SAM 2.1’s features, noise of a factor of 4. They are not comparable number by "
            "number."
        )
    return text


def _table(found: Sequence[Line], metric: Metric, titles: Mapping[str, str]) -> str:
    """Labels down, methods across; beside the Dice of a label the paper's."""
    methods, labels = methods_of(found), labels_of(found)
    with_paper = metric.field == "dice" and any(map(published_dice, labels))
    header = ["cases", *(titles[method] for method in methods)]
    if with_paper:
        header += [f"paper: {PAPER_TITLES[method]}" for method in PUBLISHED_METHODS]
    rows = []
    for label in labels:
        of = {line.method: line for line in found if line.label == label}
        most = max(line.targets for line in of.values())
        row = [label, str(most)]
        for method in methods:
            text = metric.text(of[method]) if method in of else ""
            fewer = method in of and of[method].targets < most
            row.append(f"{text} (of {of[method].targets})" if fewer else text)
        if with_paper:
            paper = published_dice(label)
            row += [f"{paper[m]:.2f}" if paper else "" for m in PUBLISHED_METHODS]
        rows.append(row)
    return markdown_table(["label"], header, rows)


def _seconds(found: Sequence[Line], titles: Mapping[str, str]) -> str:
    whole = [line for line in found if line.label == ALL]
    return markdown_table(
        ["method"], ["seconds"], [[titles[line.method], f"{line.seconds:.3g}"] for line in whole]
    )
