"""The paper's recipe against ours: quality over time on the same volume, backbone and seed.

Of the paper's 60,000 views as many are run as are asked for, by number or by time, with its
schedule shortened in proportion (warm-up and decay over the run); nothing is extrapolated.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from _curve_figure import draw
from _curves import Recipes
from _judge import Judge
from _recipes import compare, facts_of, reduced, rows_of
from _subjects import add_backbone_arguments, chosen, phantom_of, sizes_of
from _tables import show

from VoxelFeatLib.fitting.presets import preset_named
from VoxelFeatLib.imaging.reading import read_volume


def main() -> None:
    """Run the recipes one after the other and compare them."""
    arguments = _arguments()
    volume = (
        read_volume(arguments.volume) if arguments.volume else phantom_of(arguments.shape).volume
    )
    paper = reduced(preset_named("paper"), arguments.windows, arguments.window)
    with chosen(arguments) as choice:
        judge = Judge(
            volume,
            choice.make(volume),
            paper,
            cells=arguments.cells,
            seed=arguments.seed,
        )
        recipes = Recipes(volume, choice, judge, arguments.seed)
        views = arguments.views or recipes.views_in(paper, arguments.seconds)
        curves = compare(recipes, paper, views, [preset_named(name) for name in arguments.ours])
        title = f"{volume.name} ({sizes_of(volume)}), {choice.title}, seed {arguments.seed}"
    if arguments.figure:
        draw(arguments.figure, curves, title)
    show(title, rows_of(curves), output=arguments.output, more=facts_of(curves))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volume", help="an image file instead of the phantom")
    parser.add_argument("--shape", default="128x128x64", help="the phantom's voxels along i, j, k")
    parser.add_argument("--ours", nargs="+", default=["fast"], help="presets to compare")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--views", type=int, help="views of the paper's recipe")
    length.add_argument("--seconds", type=float, default=600, help="or about so much time for it")
    parser.add_argument("--windows", type=int, help="fewer windows a step of the paper's recipe")
    parser.add_argument("--window", type=int, help="smaller ones, in cells of the coarsest level")
    parser.add_argument("--cells", type=int, default=2048, help="held-out cells of each level")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, help="a PNG to write")
    parser.add_argument("--output", type=Path, help="a JSON file to write")
    add_backbone_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
