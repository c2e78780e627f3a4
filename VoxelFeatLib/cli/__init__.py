"""The command line `voxelfeat`: one file for each group of commands."""
