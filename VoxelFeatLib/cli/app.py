"""The program `voxelfeat`: its commands, its exit codes.

Exit codes: 0 when the work is done; 2 for what the user can mend, with one sentence on stderr; 130
after Ctrl-C. Whatever the code, no file is left half-written.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import VoxelFeatLib
from VoxelFeatLib.cli.console import say, say_error
from VoxelFeatLib.cli.demo import demo
from VoxelFeatLib.cli.evaluate import evaluate_program
from VoxelFeatLib.cli.explore import features, supervoxels
from VoxelFeatLib.cli.fit import fit
from VoxelFeatLib.cli.info import info, presets
from VoxelFeatLib.cli.refine import refine
from VoxelFeatLib.cli.segment import segment
from VoxelFeatLib.cli.weights import backbones, weights_program
from VoxelFeatLib.cli.worker import worker
from VoxelFeatLib.environment import prepare_for_torch
from VoxelFeatLib.errors import (
    Cancelled,
    InputError,
    NotEnoughMemoryError,
    VoxelFeatError,
    is_out_of_memory,
)

USER_ERROR = 2
CANCELLED = 130


class Commands(TyperGroup):
    """The commands, run so that every error ends in its exit code and never in a traceback.

    Only errors meant for users are caught, and what the system refuses: a file, a folder, memory.
    Anything else is a defect, and its traceback a report.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("Cancelled; nothing was left half-written.")
            raise typer.Exit(CANCELLED) from None
        except Cancelled as cancelled:
            say(cancelled.message)
            raise typer.Exit(CANCELLED) from cancelled
        except VoxelFeatError as error:
            say_error(error)
            raise typer.Exit(USER_ERROR) from error
        except BrokenPipeError:
            raise  # whoever read the output has seen enough; the caller ends in silence
        except OSError as error:
            what = error.filename or "the output"
            say_error(InputError(f"Cannot use {what}: {error.strerror or error}."))
            raise typer.Exit(USER_ERROR) from error
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):  # torch has RuntimeErrors for that, too
                raise
            say_error(NotEnoughMemoryError())
            raise typer.Exit(USER_ERROR) from error


def _show_version(wanted: bool) -> None:
    if wanted:
        print(VoxelFeatLib.__version__)
        raise typer.Exit


def main() -> None:
    """Run the program; the console script and `python -m VoxelFeatLib` come here."""
    prepare_for_torch()
    full_program()()


def full_program() -> typer.Typer:
    """Make the program with all its commands."""
    program = new_program()
    for command in (fit, segment, refine, features, supervoxels, info, demo, presets, backbones):
        program.command()(command)
    program.add_typer(weights_program(), name="weights")
    program.add_typer(evaluate_program(), name="evaluate")
    program.command()(worker)
    return program


def new_program() -> typer.Typer:
    """Make the program without any command."""
    program = typer.Typer(
        name="voxelfeat",
        cls=Commands,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @program.callback()
    def voxelfeat(
        version: Annotated[
            bool,
            typer.Option(
                "--version", callback=_show_version, is_eager=True, help="Print the version."
            ),
        ] = False,
    ) -> None:
        """Fit a volume once, then segment it with clicks.

        **First steps**

        - `voxelfeat demo` shows everything on a made-up CT.
        - `voxelfeat fit ct.nii.gz -o ct.voxelfeat`
        - `voxelfeat segment ct.voxelfeat --volume ct.nii.gz --positive p.mrk.json -o a.seg.nrrd`
        - `voxelfeat COMMAND --help` explains a command and shows examples.
        """

    return program
