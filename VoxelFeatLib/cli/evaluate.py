"""`voxelfeat evaluate`: methods measured on volumes with reference labels."""

from __future__ import annotations

import typer

from VoxelFeatLib.cli.evaluate_clicks import clicks
from VoxelFeatLib.cli.evaluate_refinement import refinement


def evaluate_program() -> typer.Typer:
    """Make the commands below `voxelfeat evaluate`."""
    program = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
    program.command()(clicks)
    program.command()(refinement)

    @program.callback()
    def evaluate() -> None:
        """Measure on volumes with reference labels, beside what users have today."""

    return program
