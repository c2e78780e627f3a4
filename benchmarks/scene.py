"""What Slicer's main thread does with a large volume: its longest steps, and the memory it takes.

Real MRML and a real worker process, without Qt: nothing is drawn, all else is as in Slicer. The
CPU time of a step is what it takes by itself, its wall time has the machine's other work in it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from functools import partial
from typing import Any

import numpy as np
import slicer  # noqa: TID251 - real MRML
import vtk
from _session_scene import LABELMAP, PATIENCE, Scene, tell
from _tables import Row, show
from rich.console import Console
from rich.table import Table
from vtk.util import numpy_support

from VoxelFeatLib.scene.nodes import segmentations
from VoxelFeatLib.scene.nodes.volume_nodes import vtk_matrix

# What no step may exceed, ms, and what all together may add to the volume's own bytes.
_LONGEST, _GROWTH = 100.0, 1.0


def main() -> None:
    """Go through a session, and print what each action cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(600, 512, 512), metavar="N")
    shape = parser.parse_args().shape
    with tempfile.TemporaryDirectory() as cache:
        os.environ["VOXELFEAT_CACHE"] = cache
        scene = Scene((shape[0], shape[1], shape[2]))
        try:
            fit(scene)
            clicks(scene)
            changes(scene)
            others(scene)
        finally:
            scene.close()
    report(scene)


def fit(scene: Scene) -> None:
    """The volume goes to the worker; the fit is stopped when clicks can be answered."""
    field = scene.field
    stages = scene.loop.stage(
        "choose the volume",
        lambda: field.set_volume(scene.volume),
        lambda: not field.status.busy,
        PATIENCE,
    )
    tell(stages)

    def enough() -> bool:
        return field.usable or field.status.kind == "error"

    fitted = scene.loop.stage("fit", lambda: field.fit("filters", "draft", "cpu"), enough, PATIENCE)
    tell(fitted)
    stopped = scene.loop.stage("stop the fit", field.cancel, lambda: not field.status.busy, 60.0)
    tell(stopped)
    if not field.usable:
        raise RuntimeError(field.status.text)


def clicks(scene: Scene) -> None:
    """Clicks and what is done with them."""
    segment = scene.segment
    segment.locality = False  # answers reach through the volume then
    scene.do("first click", lambda: (segment.add_segment("liver"), scene.click("liver", 0)))
    for number in range(1, 4):
        scene.do(f"click {number + 1}", lambda n=number: scene.click("liver", n))
    scene.do("click 5, outside", lambda: scene.click("spleen", 4, positive=False))
    scene.do("click 6, outside", lambda: scene.click("stomach", 5, positive=False))
    scene.do("drag", lambda: drag(scene))
    scene.do("scribble", lambda: scribble(scene))
    scene.do("undo", segment.undo)
    scene.do("undo twice", lambda: (segment.undo(), segment.undo()))
    scene.do("redo", segment.redo)
    scene.do("undo while an answer comes", lambda: interrupted(scene))


def drag(scene: Scene) -> None:
    """Move a click in 20 turns of the loop, as the mouse does."""
    node = _clicks_of(scene)
    start = np.array(node.GetNthControlPointPositionWorld(0))
    node.InvokeEvent(node.PointStartInteractionEvent)
    scene.acting = True

    def move(step: int) -> None:
        node.SetNthControlPointPositionWorld(0, (start + 0.7 * step).tolist())
        scene.acting = step < 20
        if scene.acting:
            scene.loop.after(0.03, partial(move, step + 1))
        else:
            node.InvokeEvent(node.PointEndInteractionEvent)

    move(1)


def scribble(scene: Scene) -> None:
    """Draw a stroke through the liver."""
    first, last = (np.array(scene.place("liver", n)) for n in (0, 1))
    last[2] = first[2]
    stroke = first + np.linspace(0, 1, 200)[:, None] * (last - first)
    scene.segment._on_stroke(stroke, positive=True)  # noqa: SLF001 - what the pen calls


def interrupted(scene: Scene) -> None:
    """Click, and undo when the answer is being put in place."""
    scene.acting = True
    before = scene.segment.last_change

    def undo() -> None:
        scene.acting = False
        scene.segment.undo()

    def wait() -> None:
        begun = any(turn.what.endswith("_put") for turn in scene.loop.stages[-1].turns)
        over = scene.segment.last_change is not before
        scene.loop.after(0.01, undo if begun or over else wait)

    scene.click("liver", 9)
    wait()


def changes(scene: Scene) -> None:
    """What is done to whole segments."""
    segment = scene.segment
    scene.do("start from existing", lambda: segment.start_from_existing(on=True))
    scene.do("click on that", lambda: scene.click("liver", 10))
    scene.do("edit elsewhere, click", lambda: (edit(scene), scene.click("liver", 11)))
    name = segment.segment_id
    scene.do("remove the segment", lambda: segment.remove_segment(name))
    scene.do("bring it back", segment.undo)
    scene.do("click after that", lambda: scene.click("liver", 12))
    first = segment.segmentation
    other = segmentations.new_segmentation(scene.scene, scene.volume)
    scene.do("other segmentation", lambda: segment.set_segmentation(other))
    scene.do("back to the first", lambda: segment.set_segmentation(first))
    scene.do("click there", lambda: scene.click("liver", 13))


def edit(scene: Scene) -> None:
    """Change the segment as other modules do."""
    found = scene.segment.segmentation.GetSegmentation().GetSegment(scene.segment.segment_id)
    image = found.GetRepresentation(LABELMAP)
    scalars = image.GetPointData().GetScalars()
    numpy_support.vtk_to_numpy(scalars)[: scalars.GetNumberOfTuples() // 50] = 0
    scalars.Modified()
    image.Modified()


def others(scene: Scene) -> None:
    """Masks that others have made, as large as the volume."""
    segment = scene.segment
    source = segmentations.new_segmentation(scene.scene, scene.volume)
    name = segmentations.add_segment(source, "all")
    image = _labelmap(scene, slicer.vtkOrientedImageData(), scene.tile.labels > 0)
    image.SetImageToWorldMatrix(vtk_matrix(scene.geometry.ijk_to_ras))
    source.GetSegmentation().GetSegment(name).AddRepresentation(LABELMAP, image)
    del image
    scene.do("choose an imported mask", lambda: segment.set_segmentation(source))
    scene.do("click on it", lambda: scene.click("liver", 14, positive=False))
    scene.do("undo that", segment.undo)
    scene.do("remove it", lambda: segment.remove_segment(name))
    scene.do("bring it back", segment.undo)
    scene.do("refine", lambda: scene.refine.refine(source, name, source))
    if scene.refine.result is None:
        raise RuntimeError(scene.refine.status.text)
    labels = scene.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    labels.SetAndObserveImageData(_labelmap(scene, vtk.vtkImageData(), scene.tile.labels))
    scene.loaded.append(labels)
    labels.SetIJKToRASMatrix(vtk_matrix(scene.geometry.ijk_to_ras))
    scene.do("labels of a label map", lambda: find_labels(scene, labels))


def find_labels(scene: Scene, node: Any) -> None:
    """Look for the labels, as the panel does when a label map is chosen."""
    scene.acting = True

    def found(_labels: list[int]) -> None:
        scene.acting = False

    scene.refine.find_labels(node, found)


def _labelmap(scene: Scene, image: Any, tile: Any) -> Any:
    """Fill an image with labels as large as the volume: a tile that is repeated."""
    image.SetDimensions(*scene.geometry.shape_kji[::-1])
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    voxels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    voxels = voxels.reshape(scene.geometry.shape_kji)
    for k in range(0, len(voxels), len(tile)):
        part = voxels[k : k + len(tile)]
        part[:] = tile[: len(part)]
    return image


def report(scene: Scene) -> None:
    """Print a table of all stages, then what counts."""
    volume = int(np.prod(scene.geometry.shape_kji)) * 2
    stages = scene.loop.stages[1:]
    begun = stages[0].before
    table = Table(
        title="Steps of the main thread, ms; memory above the start, in volumes, besides labelmaps"
    )
    columns = ("stage", "seconds", "steps", "CPU max", "CPU 99 %", "wall max", "longest step")
    for column in (*columns, "after", "peak", "worker, GB"):
        table.add_column(column, justify="left" if column in columns[::6] else "right")
    for stage in stages:
        longest = stage.longest()
        table.add_row(
            stage.name,
            f"{stage.seconds:.1f}",
            f"{len(stage.turns)}",
            f"{longest.cpu:.0f}",
            f"{stage.percentile(99):.0f}",
            f"{stage.longest('wall').wall:.0f}",
            longest.what,
            f"{(stage.after - begun) / volume:.2f}",
            f"{(stage.peak - begun) / volume:.2f}",
            f"{stage.worker / 1e9:.2f}",
        )
    Console(width=140).print(table)
    shape = " x ".join(str(n) for n in scene.geometry.shape_kji[::-1])
    turns = [turn for stage in stages for turn in stage.turns]
    cpu = [turn.cpu for turn in turns]
    rows = [
        Row("longest step of the main thread, CPU", max(cpu), "ms", _LONGEST),
        Row("99 % of the steps, CPU", float(np.percentile(cpu, 99)), "ms", _LONGEST),
        Row("longest step of the main thread, wall", max(turn.wall for turn in turns), "ms"),
        Row("steps above 100 ms CPU", sum(c > _LONGEST for c in cpu), "", 0),
        Row(
            "memory besides the labelmaps, above the start, at its peak",
            max((stage.peak - begun) / volume for stage in stages),
            "volumes",
            _GROWTH,
        ),
        Row("memory of the worker, at its peak", max(s.worker for s in stages) / 1e9, "GB"),
    ]
    show(f"The main thread on a volume of {shape}", rows)


def _clicks_of(scene: Scene) -> Any:
    count = scene.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode")
    nodes = [scene.scene.GetNthNodeByClass(n, "vtkMRMLMarkupsFiducialNode") for n in range(count)]
    return max(nodes, key=lambda node: node.GetNumberOfControlPoints())


if __name__ == "__main__":
    main()
