"""`voxelfeat demo`: the main job on a made-up CT, without data, GPU or network."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from VoxelFeatLib.cli import options
from VoxelFeatLib.cli.console import bar, duration, print_table, say
from VoxelFeatLib.cli.fit import run_fit
from VoxelFeatLib.cli.report import heldout_table

if TYPE_CHECKING:
    from VoxelFeatLib.demo.clicking import Clicked, Structure
    from VoxelFeatLib.demo.folder import DemoFolder
    from VoxelFeatLib.demo.refining import Refined
    from VoxelFeatLib.field.feature_field import FeatureField
    from VoxelFeatLib.imaging.volume import Volume
    from VoxelFeatLib.segmenting.session import Session


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the results go.")
    ] = Path("demo"),
    size: Annotated[
        str, typer.Option(metavar="full|small", help="small takes seconds, on coarse voxels.")
    ] = "full",
    seed: options.Seed = 0,
) -> None:
    """Fit, click and refine on a made-up CT; leaves files for Slicer, figures and numbers.

    **Example**

    - `voxelfeat demo --output demo`
    """
    # torch loads only now, so that --help need not wait for it
    from VoxelFeatLib.backbones.registry import create_backbone
    from VoxelFeatLib.demo import pictures
    from VoxelFeatLib.demo.case import case_named
    from VoxelFeatLib.demo.clicking import Structure
    from VoxelFeatLib.demo.folder import DemoFolder
    from VoxelFeatLib.field.files import save_field
    from VoxelFeatLib.fitting.fitter import Fitter
    from VoxelFeatLib.imaging.phantom import make_phantom
    from VoxelFeatLib.segmenting.session import Session

    case = case_named(size)
    folder = DemoFolder(output)
    folder.make()
    with bar("Making a CT"):
        phantom = make_phantom(case.shape_kji, case.spacing_ijk, seed)
    volume = phantom.volume
    backbone = create_backbone("filters", volume)
    fitter = Fitter(volume, backbone, case.preset, seed=seed)
    ready = run_fit(fitter)
    field, record = fitter.field, fitter.record
    with bar("Writing CT and field"):
        folder.write_phantom(phantom)
        save_field(folder.field, field, volume, record)
    wanted = [Structure.of(phantom, name) for name in case.clicked]
    clicked = _click(Session(volume, field, seed=seed), wanted, case.clicks)
    folder.write_clicked(clicked, volume.geometry)
    wanted = [Structure.of(phantom, name) for name in case.refined]
    refined = _refine(volume, field, wanted, case.coarse_factor, seed)
    folder.write_refined(refined, volume.geometry)
    _draw(
        [
            partial(pictures.draw_overview, folder, volume, clicked),
            *(partial(pictures.draw_segment, folder, volume, one) for one in clicked),
            partial(pictures.draw_refinement, folder, volume, refined),
            partial(pictures.draw_features, folder, volume, backbone, field, wanted[0].mask),
        ]
    )
    folder.write_summary(
        {
            "fit_seconds": record["seconds"],
            "first_click_seconds": round(ready, 2),
            "heldout": record["heldout"],
            "segments": [one.summary() for one in clicked],
            "refinement": [one.summary() for one in refined],
        }
    )
    print_table(heldout_table(record["heldout"]))
    print_table(_clicked_table(clicked))
    print_table(_refined_table(refined))
    say(f"Fitted in {duration(record['seconds'])}; clicks were possible after {duration(ready)}.\n")
    _say_what_next(folder, clicked[0])


def _click(session: Session, structures: Sequence[Structure], most: int) -> list[Clicked]:
    from VoxelFeatLib.demo.clicking import click_through

    made = []
    with bar("Clicking") as shown:
        for number, structure in enumerate(structures):
            for one in click_through(session, structure, most):
                count = len(one.clicks)
                words = f"{structure.name}, click {count}: Dice {one.dice[-1]:.3f}"
                shown.update(number * most + count, len(structures) * most, detail=words)
            made.append(one)
    return made


def _refine(
    volume: Volume,
    field: FeatureField,
    structures: Sequence[Structure],
    coarse_factor: int,
    seed: int,
) -> list[Refined]:
    from VoxelFeatLib.demo.refining import refine_coarse

    made: list[Refined] = []
    with bar("Refining coarse masks") as shown:
        for structure in structures:

            def tell(fraction: float, name: str = structure.name) -> None:
                shown.update(len(made) + fraction, len(structures), detail=name)

            made.append(refine_coarse(volume, field, structure, coarse_factor, tell, seed=seed))
    return made


def _draw(figures: Sequence[Callable[[], None]]) -> None:
    with bar("Drawing") as shown:
        for number, draw in enumerate(figures, start=1):
            draw()
            shown.update(number, len(figures))


def _clicked_table(clicked: Sequence[Clicked]) -> Table:
    most = max(len(one.dice) for one in clicked)
    shown = sorted({1, min(3, most), most})
    table = Table(title="Segments from simulated clicks")
    table.add_column("segment")
    for count in shown:
        table.add_column(f"Dice after\n{count} click{'s' * (count > 1)}", justify="right")
    table.add_column("slowest\nclick", justify="right")
    for one in clicked:
        # Who stopped early had nothing left to correct.
        scores = [one.dice[min(count, len(one.dice)) - 1] for count in shown]
        table.add_row(
            one.structure.name,
            *(f"{score:.3f}" for score in scores),
            duration(max(one.seconds)),
        )
    return table


def _refined_table(refined: Sequence[Refined]) -> Table:
    spacing = " × ".join(f"{size:g}" for size in refined[0].coarse_geometry.spacing)
    table = Table(title=f"Masks of {spacing} mm voxels, refined")
    table.add_column("segment")
    for measure in ("Dice", "HD95, mm"):
        for kind in ("coarse", "smoothed", "refined"):
            table.add_column(f"{measure}\n{kind}", justify="right")
    for one in refined:
        scores = (one.before, one.smoothed, one.after)
        table.add_row(
            one.structure.name,
            *(f"{score.dice:.3f}" for score in scores),
            *(f"{score.hd95_mm:.1f}" for score in scores),
        )
    return table


def _say_what_next(folder: DemoFolder, first: Clicked) -> None:
    name = first.structure.name
    inside, outside = (folder.clicks(name, positive=sign) for sign in (True, False))
    say("To see it in 3D Slicer, drag these files into its window:")
    say(f"  {folder.volume}, {folder.segmentation}, {folder.truth}")
    say(f"  {folder.coarse}, {folder.refined}, and the clicks, such as {inside}")
    say(f"Figures: {', '.join(sorted(path.name for path in folder.path.glob('*.png')))}")
    say(f"All numbers: {folder.summary}\n")
    again = ["segment", folder.field, "--volume", folder.volume, "--name", name]
    again += ["--positive", inside]
    if outside.exists():
        again += ["--negative", outside]
    again += ["--output", folder.path / f"{name.replace(' ', '-')}-again.seg.nrrd"]
    say(f"To segment the {name} again from its clicks (move them in Slicer, save, and repeat):")
    say(f"  {shlex.join([*_program(), *map(str, again)])}")


def _program() -> list[str]:
    """How the user can start this program: by its name where it is found."""
    if shutil.which("voxelfeat"):
        return ["voxelfeat"]
    here = os.path.relpath(sys.executable)
    return [here if not here.startswith("..") else sys.executable, "-m", "VoxelFeatLib"]
