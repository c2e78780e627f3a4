"""How long a fit takes, what it needs and how good it is: by default phantom, `filters`, `fast`."""

from __future__ import annotations

import argparse
from pathlib import Path

from _fits import MeasuredFit
from _roofline import Roofline
from _subjects import add_backbone_arguments, chosen, phantom_of, sizes_of
from _tables import show

from VoxelFeatLib.fitting.presets import preset_named
from VoxelFeatLib.imaging.reading import read_volume


def main() -> None:
    """Fit once and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volume", help="an image file instead of the phantom")
    parser.add_argument("--shape", default="512x512x100", help="the phantom's voxels along i, j, k")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--output", type=Path, help="a JSON file to write")
    add_backbone_arguments(parser)
    arguments = parser.parse_args()
    preset = preset_named(arguments.preset)
    volume = (
        read_volume(arguments.volume) if arguments.volume else phantom_of(arguments.shape).volume
    )
    with chosen(arguments) as choice:
        measured = MeasuredFit(volume, choice, preset)
        measured.run()
        rows = measured.rows(roofline := Roofline(choice.device)) + roofline.rows()
        title = f"Fit of {volume.name} ({sizes_of(volume)}), {choice.title}, {preset.name}"
    show(title, rows, output=arguments.output)


if __name__ == "__main__":
    main()
