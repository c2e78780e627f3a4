from __future__ import annotations

from VoxelFeatLib.scene.signal import Signal


def test_listeners_are_called_in_order_with_what_is_emitted() -> None:
    signal, heard = Signal(), []
    signal.connect(lambda *a: heard.append(("first", a)))
    signal.connect(lambda *a: heard.append(("second", a)))
    signal.emit("liver", 3)
    assert heard == [("first", ("liver", 3)), ("second", ("liver", 3))]


def test_a_listener_connected_twice_is_called_once_and_none_after_disconnecting() -> None:
    signal, heard = Signal(), []
    signal.connect(heard.append)
    signal.connect(heard.append)
    signal.emit(1)
    signal.disconnect(heard.append)
    signal.disconnect(heard.append)
    signal.emit(2)
    assert heard == [1]


def test_a_listener_disconnected_by_an_earlier_one_is_not_called() -> None:
    signal, heard = Signal(), []

    def first() -> None:
        signal.disconnect(second)
        signal.connect(third)

    def second() -> None:
        heard.append("second")

    def third() -> None:
        heard.append("third")

    signal.connect(first)
    signal.connect(second)
    signal.emit()
    assert heard == []
    signal.emit()
    assert heard == ["third"]
