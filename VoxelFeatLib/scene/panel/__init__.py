"""The sections of the panel: each binds its part of the `.ui` file to one controller."""
