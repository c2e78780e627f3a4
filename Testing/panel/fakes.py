"""Controllers without a worker: they note what they are asked for and show what a test sets."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from VoxelFeatLib.scene.controllers import field_status
from VoxelFeatLib.scene.controllers.field_status import FieldStatus
from VoxelFeatLib.scene.nodes import segmentations
from VoxelFeatLib.scene.segments import coarse_masks
from VoxelFeatLib.scene.signal import Signal

HELLO = {
    "host": "gpu-box",
    "torch": "2.7.1",
    "devices": [
        {"name": "cpu", "label": "Processor (16 threads)"},
        {"name": "cuda:0", "label": "NVIDIA RTX 4090"},
    ],
    "backbones": [
        {
            "name": "sam2.1-tiny",
            "label": "SAM 2.1 tiny",
            "available": False,
            "reason": "not installed: sam2, hydra-core",
            "missing": ["sam2", "hydra-core"],
            "download_bytes": 0,
            "options": True,
        },
        {
            "name": "filters",
            "label": "Filters",
            "available": True,
            "reason": "",
            "missing": [],
            "download_bytes": 0,
            "options": False,
        },
    ],
    "encodings": ["gray", "windows3", "fve1"],
    "presets": [
        {"name": "fast", "summary": "A minute on a processor."},
        {"name": "balanced", "summary": "A minute on a GPU."},
    ],
    "default_device": "cuda:0",
    "default_preset": {"cpu": "fast", "cuda:0": "balanced"},
}
# The same with everything installed; one backbone's weights are there, the other's are not.
EQUIPPED = HELLO | {
    "backbones": [
        HELLO["backbones"][1],
        HELLO["backbones"][0]
        | {"available": True, "reason": "", "missing": [], "download_bytes": 156_008_466},
        HELLO["backbones"][0]
        | {
            "name": "sam2.1-large",
            "label": "SAM 2.1 large",
            "available": True,
            "reason": "",
            "missing": [],
        },
    ]
}
CACHED = [
    {
        "path": "/cache/a.voxelfeat",
        "backbone": "filters",
        "preset": "balanced",
        # As the worker sends it: seconds since 1970; of 10:20 here, wherever that is.
        "finished": time.mktime((2026, 3, 2, 10, 20, 30, 0, 0, -1)),
        "mean_cosine": 0.964,
    }
]


class Fake:
    """Notes calls as (name, arguments)."""

    def __init__(self) -> None:
        self.changed = Signal()
        self.calls: list[tuple[Any, ...]] = []

    def note(self, *call: Any) -> None:
        self.calls.append(call)

    def show(self, **values: Any) -> None:
        """Set attributes and tell the panel."""
        for name, value in values.items():
            setattr(self, name, value)
        self.changed.emit()

    def close(self) -> None:
        self.note("close")


class FakeLink(Fake):
    def __init__(self) -> None:
        super().__init__()
        self.state, self.message, self.hello = "stopped", "", {}

    def log(self) -> str:
        return "first line\nlast line"

    def start(self) -> None:
        self.note("start")

    def restart(self) -> None:
        self.note("restart")

    def use_transport(self, make_transport: Any) -> None:
        self.note("use_transport", make_transport)


class FakeField(Fake):
    def __init__(self) -> None:
        super().__init__()
        self.volume: Any = None
        self.status = field_status.NO_VOLUME
        self.cached: list[dict[str, Any]] = []
        self.field_path = ""
        self.problem = ""

    @property
    def usable(self) -> bool:
        return self.status.usable

    def set_volume(self, node: Any, field_path: str = "") -> None:
        self.note("set_volume", node, field_path)
        self.volume, self.field_path = node, field_path
        self.show(status=field_status.NO_VOLUME if node is None else field_status.NO_FIELD)

    def fit(self, backbone: str, preset: str, device: str, seed: int = 0, **options: Any) -> None:
        self.note("fit", backbone, preset, device, seed, *([options] if options else []))

    def cancel(self) -> None:
        self.note("cancel")

    def load(self, path: str) -> None:
        self.note("load", path)

    def use_cached(self, path: str) -> None:
        self.note("use_cached", path)

    def save(self, path: str, done: Any) -> None:
        self.note("save", path)
        done(self.problem)

    def make_usable(self) -> None:
        """Have a field."""
        self.show(status=FieldStatus("ready", "Ready: click in a slice.", None, None, 0.96, True))


class FakeSegment(Fake):
    def __init__(self, field: FakeField) -> None:
        super().__init__()
        self.message = Signal()
        self.field = field
        self.segmentation: Any = None
        self.segment_id = ""
        self.placing: bool | None = None
        self.scribbling: bool | None = None
        self.box_node: Any = None
        self.starts_from_existing = False
        self.locality = True
        self.can_undo = self.can_redo = self.busy = False
        self.last_change: Any = None
        self.counts: dict[str, tuple[int, int]] = {}

    def set_segmentation(self, node: Any) -> None:
        self.show(segmentation=node, segment_id="")

    def set_editor_node(self, node: Any) -> None:
        self.editor_node = node

    def select(self, segment_id: str) -> None:
        self.note("select", segment_id)
        self.show(segment_id=segment_id)

    def add_segment(self, name: str = "") -> str:
        import slicer

        if self.segmentation is None:
            node = segmentations.new_segmentation(slicer.mrmlScene, self.field.volume)
            self.set_segmentation(node)
        segment_id = segmentations.add_segment(self.segmentation, name)
        self.select(segment_id)
        return segment_id

    def remove_segment(self, segment_id: str) -> None:
        self.note("remove_segment", segment_id)
        self.segmentation.GetSegmentation().RemoveSegment(segment_id)
        self.show(segment_id="")

    def click_counts(self, segment_id: str) -> tuple[int, int]:
        return self.counts.get(segment_id, (0, 0))

    def place(self, positive: bool | None) -> None:
        self.note("place", positive)
        self.show(placing=positive, scribbling=None)

    def scribble(self, positive: bool | None) -> None:
        self.note("scribble", positive)
        self.show(placing=None, scribbling=positive)

    def set_box(self, on: bool) -> None:
        self.note("set_box", on)
        self.show(box_node=object() if on else None)

    def start_from_existing(self, on: bool) -> None:
        self.note("start_from_existing", on)
        self.show(starts_from_existing=on)

    def __getattr__(self, name: str) -> Any:
        if name not in {"clear", "undo", "redo", "recompute", "cancel", "show_last_change"}:
            raise AttributeError(name)
        return lambda: self.note(name)

    def made(self, inside: int, outside: int, added_ml: float, removed_ml: float) -> None:
        """Have clicks, and an answer to the last one."""
        self.counts[self.segment_id] = (inside, outside)
        change = SimpleNamespace(
            segment_id=self.segment_id, added_ml=added_ml, removed_ml=removed_ml
        )
        self.show(last_change=change, can_undo=True, busy=False)


class FakeSuggestion(Fake):
    def __init__(self) -> None:
        super().__init__()
        self.known, self.count, self.number = False, 0, 0

    def next(self) -> None:
        self.note("next")
        if self.count:
            self.show(number=self.number % self.count + 1)

    def clear(self) -> None:
        self.note("clear")
        self.show(number=0)


def refine_status(
    text: str = "",
    fraction: float | None = None,
    seconds_left: float | None = None,
    *,
    failed: bool = False,
) -> Any:
    """What a RefineController tells."""
    return SimpleNamespace(
        text=text,
        fraction=fraction,
        seconds_left=seconds_left,
        failed=failed,
        busy=fraction is not None,
    )


class FakeRefine(Fake):
    def __init__(self) -> None:
        super().__init__()
        self.status = refine_status()
        self.result: Any = None

    def refine(self, source: Any, part: Any, target: Any, mode: str, coarse_mm: Any) -> None:
        self.note("refine", source, part, target, mode, coarse_mm)

    def find_labels(self, node: Any, found: Any) -> None:
        def look() -> Any:
            found((yield from coarse_masks.labels_of(node)))

        for _ in look():
            pass

    def cancel(self) -> None:
        self.note("cancel")


class FakeOverlay(Fake):
    def __init__(self) -> None:
        super().__init__()
        self.message = Signal()
        self.mode, self.opacity = "none", 0.5

    def set_opacity(self, opacity: float) -> None:
        self.show(opacity=opacity)

    def set_mode(self, mode: str) -> None:
        self.note("set_mode", mode)
        self.show(mode=mode)

    def cursor_moved(self, ras: Any) -> None:
        self.note("cursor_moved", ras)
