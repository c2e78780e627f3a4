"""The module is opened."""

from __future__ import annotations


def test_panel_opens_in_an_empty_scene(a_person):
    assert a_person.ui.fieldStatusLabel.text.endswith("Choose a volume.")
    assert not a_person.ui.fitButton.enabled
    a_person.photograph("opened")
