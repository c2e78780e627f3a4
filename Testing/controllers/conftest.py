"""The controllers with a real scene and a real worker process, but without Qt."""

from __future__ import annotations

from Testing.controllers.controller_fixtures import (
    a_cache_folder,
    a_field,
    a_link,
    a_loop,
    a_phantom,
    a_ready_field,
    a_scene,
    a_volume_node,
    add_volume_of,
)

__all__ = [
    "a_cache_folder",
    "a_field",
    "a_link",
    "a_loop",
    "a_phantom",
    "a_ready_field",
    "a_scene",
    "a_volume_node",
    "add_volume_of",
]
