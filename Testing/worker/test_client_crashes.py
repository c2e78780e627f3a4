"""The client and workers that die: what is told to the next one, asked again, given up."""

from __future__ import annotations

import pytest

from Testing.worker.client_fixtures import Answer, Desk, a_wire_mask, blocks
from VoxelFeatLib.worker import framing


def open_and_fit(desk: Desk, path: str = "/cache/a.voxelfeat") -> None:
    desk.ask("open_volume", {"name": "a"}, payload=lambda: [b"voxels"])
    desk.worker.succeed(desk.worker.taken[-2])
    desk.ask("fit", {"device": "cuda:0"})
    desk.worker.succeed(desk.worker.last, path=path)


def test_a_new_worker_is_given_volume_and_field_and_then_what_was_asked(a_desk) -> None:
    a_desk.ready()
    open_and_fit(a_desk)
    repeats = []
    segment = a_desk.ask("segment", {"segment": "a"}, on_repeat=lambda: repeats.append(1))
    query = a_desk.ask("query")
    a_desk.worker.exit(-9)
    assert a_desk.states[-1] == (
        "starting",
        "The worker ended unexpectedly (killed by SIGKILL); restarting.",
    )
    late = a_desk.ask("similarity")
    a_desk.worker.greet()
    worker = a_desk.worker
    assert worker.kinds == ["hello", "open_volume", "part"]
    assert worker.taken[1]["name"] == "a"
    assert worker.last["data"] == b"voxels"
    worker.succeed(worker.taken[1])
    assert worker.kinds[3:] == ["load_field"]
    assert worker.last["path"] == "/cache/a.voxelfeat"
    assert worker.last["device"] == "cuda:0"
    assert a_desk.client.state == "starting"
    assert repeats == []
    worker.succeed(worker.last)
    assert a_desk.client.state == "ready"
    assert worker.kinds[4:] == ["segment", "query", "similarity"]
    assert repeats == [1]
    for message, answer in zip(worker.taken[4:], (segment, query, late), strict=True):
        worker.succeed(message)
        assert len(answer.replies) == 1
        assert answer.errors == []


def test_a_request_during_which_two_workers_died_is_given_up(a_desk) -> None:
    a_desk.ready()
    answer = a_desk.ask("segment")
    a_desk.worker.exit(-11)
    a_desk.worker.greet()
    late = a_desk.ask("query")
    assert a_desk.worker.kinds == ["hello", "segment", "query"]
    a_desk.worker.exit(-11)
    assert answer.code == "worker_died"
    assert "SIGSEGV" in answer.errors[0]["message"]
    a_desk.worker.greet()
    assert a_desk.worker.kinds == ["hello", "query"]
    a_desk.worker.succeed(a_desk.worker.last)
    assert len(late.replies) == 1


def test_what_must_not_be_repeated_is_given_up_at_once(a_desk) -> None:
    a_desk.ready()
    once = a_desk.ask("refine", repeat=False)
    saving = a_desk.ask("save_field", {"to_client": True})
    anew = a_desk.ask("save_field", {"to_client": True}, on_repeat=lambda: None)
    dropped = a_desk.ask("fit")
    dropped.request.cancel()
    a_desk.worker.exit(1)
    assert (once.code, saving.code) == ("worker_died", "worker_died")
    assert dropped.code == "cancelled"
    assert not anew.request.done
    a_desk.worker.greet()
    assert a_desk.worker.kinds == ["hello", "save_field"]


def test_a_worker_that_keeps_dying_is_not_started_for_ever(a_desk) -> None:
    a_desk.ready()
    for _ in range(3):
        a_desk.worker.exit(1)
        a_desk.worker.greet()
    answer = a_desk.ask("query")
    a_desk.worker.exit(1)
    assert a_desk.client.state == "failed"
    assert a_desk.states[-1][1].startswith("The worker keeps ending unexpectedly (exit code 1).")
    assert answer.code == "worker_died"
    assert len(a_desk.workers) == 4


def test_crashes_long_ago_do_not_count(a_desk, monkeypatch) -> None:
    seconds = iter(range(0, 1000, 30))
    monkeypatch.setattr("VoxelFeatLib.worker.client.client.monotonic", lambda: next(seconds))
    a_desk.ready()
    for _ in range(9):
        a_desk.worker.exit(1)
        a_desk.worker.greet()
    assert a_desk.client.state == "ready"


def test_a_new_worker_that_dies_while_it_starts_is_one_more_crash(a_desk) -> None:
    a_desk.ready()
    answer = a_desk.ask("query")
    a_desk.worker.exit(1)
    a_desk.worker.exit(1)
    a_desk.worker.greet()
    a_desk.worker.succeed(a_desk.worker.last)
    assert len(answer.replies) == 1  # it had died but once at the query


@pytest.mark.parametrize("rubbish", [b"\xc1", b"Traceback", framing.encode({}) + b"\x93\x01"])
def test_rubbish_is_a_crash(a_desk, rubbish) -> None:
    a_desk.ready()
    answer = a_desk.ask("query")
    a_desk.worker.print(rubbish + b"\xc1")
    assert a_desk.workers[0].stopped
    assert "what is no message" in a_desk.states[-1][1]
    a_desk.worker.greet()
    a_desk.worker.succeed(a_desk.worker.last)
    assert len(answer.replies) == 1


def test_an_answer_just_before_rubbish_counts(a_desk) -> None:
    a_desk.ready()
    answer = a_desk.ask("query")
    a_desk.worker.print(framing.encode({"id": answer.request.id, "ok": True}) + b"\xc1")
    assert len(answer.replies) == 1


def test_what_a_dead_worker_still_says_is_not_heard(a_desk) -> None:
    a_desk.ready()
    old, answer = a_desk.worker, a_desk.ask("query")
    old.exit(1)
    old.say({"id": answer.request.id, "ok": True})
    old.exit(1)
    assert answer.replies == []
    assert len(a_desk.workers) == 2


def test_masks_are_given_to_each_new_worker(a_desk) -> None:
    a_desk.ready()
    answer = a_desk.ask("segment", masks={"a": a_wire_mask()}.get)
    for _ in range(2):
        a_desk.worker.fail(a_desk.worker.last, "unknown_mask", keys=["a"])
        assert a_desk.worker.kinds[1:] == ["segment", "put_mask", "segment"]
        if len(a_desk.workers) == 1:
            a_desk.worker.exit(1)
            a_desk.worker.greet()
    a_desk.worker.succeed(a_desk.worker.last)
    assert len(answer.replies) == 1


def test_a_field_that_is_in_no_file_is_lost_and_told_so(a_desk) -> None:
    a_desk.ready()
    open_and_fit(a_desk, path="")
    a_desk.worker.exit(1)
    a_desk.worker.greet()
    a_desk.worker.succeed(a_desk.worker.taken[1])
    assert a_desk.states[-1] == ("ready", "The field is lost: it was not kept in a file.")
    assert a_desk.worker.kinds == ["hello", "open_volume", "part"]


def test_a_fit_cancelled_half_way_leaves_a_field_that_is_in_no_file(a_desk) -> None:
    a_desk.ready()
    open_and_fit(a_desk)
    for usable in (False, True):
        answer = a_desk.ask("fit")
        number = answer.request.id
        a_desk.worker.say({"id": number, "event": "progress", "usable": usable})
        a_desk.worker.fail({"id": number}, "cancelled")
    a_desk.worker.exit(1)
    a_desk.worker.greet()
    a_desk.worker.succeed(a_desk.worker.taken[1])
    assert a_desk.states[-1] == ("ready", "The field is lost: it was not kept in a file.")


def test_the_old_field_is_there_while_a_new_fit_starts_again(a_desk) -> None:
    a_desk.ready()
    open_and_fit(a_desk)
    answer = a_desk.ask("fit")
    a_desk.worker.say({"id": answer.request.id, "event": "progress", "usable": True})
    a_desk.worker.exit(1)
    a_desk.worker.greet()
    a_desk.worker.succeed(a_desk.worker.taken[1])
    a_desk.worker.succeed(a_desk.worker.taken[3])
    assert a_desk.worker.kinds == ["hello", "open_volume", "part", "load_field", "fit"]


def test_a_volume_that_was_refused_leaves_none(a_desk) -> None:
    a_desk.ready()
    open_and_fit(a_desk)
    answer = a_desk.ask("open_volume", {"name": "b"}, payload=lambda: [b"voxels"])
    a_desk.worker.fail({"id": answer.request.id}, "out_of_memory")
    a_desk.worker.exit(1)
    a_desk.worker.greet()
    assert a_desk.worker.kinds == ["hello"]


def test_a_field_saved_to_a_file_is_found_there(a_desk) -> None:
    a_desk.ready()
    open_and_fit(a_desk, path="")
    a_desk.ask("save_field", {"path": "/data/mine.voxelfeat"})
    a_desk.worker.succeed(a_desk.worker.last)
    a_desk.worker.exit(1)
    a_desk.worker.greet()
    a_desk.worker.succeed(a_desk.worker.taken[1])
    assert a_desk.worker.last["path"] == "/data/mine.voxelfeat"


@pytest.mark.parametrize("what", ["volume", "field"])
def test_what_cannot_be_brought_back_is_told(a_desk, what) -> None:
    a_desk.ready()
    open_and_fit(a_desk)
    answer = a_desk.ask("query")
    a_desk.worker.exit(1)
    a_desk.worker.greet()
    if what == "field":
        a_desk.worker.succeed(a_desk.worker.taken[1])
        a_desk.worker.fail(a_desk.worker.last, "field_file")
    else:
        a_desk.worker.fail(a_desk.worker.taken[1], "out_of_memory")
    state, sentence = a_desk.states[-1]
    assert state == "ready"
    assert sentence.startswith(f"The {what} could not be brought back: It is ")
    a_desk.worker.fail(a_desk.worker.last, f"no_{what}")
    assert answer.code == f"no_{what}"


def test_a_field_that_kills_every_worker_is_left_out(a_desk) -> None:
    a_desk.ready()
    open_and_fit(a_desk)
    for _ in range(3):
        a_desk.worker.exit(-11)
        a_desk.worker.greet()
        a_desk.worker.succeed(a_desk.worker.taken[1])
    assert a_desk.worker.kinds == ["hello", "open_volume", "part"]
    assert a_desk.client.state == "ready"


def test_a_closed_volume_is_not_opened_again(a_desk) -> None:
    a_desk.ready()
    open_and_fit(a_desk)
    a_desk.ask("close_volume")
    a_desk.worker.succeed(a_desk.worker.last)
    a_desk.worker.exit(1)
    a_desk.worker.greet()
    assert a_desk.worker.kinds == ["hello"]
    assert a_desk.client.state == "ready"


def test_a_volume_half_sent_is_sent_again_from_its_beginning(a_desk) -> None:
    a_desk.ready()
    open_and_fit(a_desk)
    answer = a_desk.ask("open_volume", {"name": "b"}, payload=lambda: blocks(4))
    a_desk.worker.exit(1)
    a_desk.worker.greet()
    while a_desk.worker.pending_bytes:
        a_desk.worker.drain()
    assert a_desk.worker.kinds == ["hello", "open_volume", *["part"] * 4]
    assert a_desk.worker.taken[1]["name"] == "b"  # the volume before it need not come back
    assert [part["part"] for part in a_desk.worker.taken[2:]] == [0, 1, 2, 3]
    a_desk.worker.succeed(a_desk.worker.taken[1])
    assert len(answer.replies) == 1


def test_a_follow_up_asked_for_by_an_error_is_answered_by_the_new_worker(a_desk) -> None:
    a_desk.ready()
    later: list[Answer] = []
    a_desk.client.request(
        "refine", repeat=False, on_error=lambda _: later.append(a_desk.ask("query"))
    )
    a_desk.worker.exit(1)
    a_desk.worker.greet()
    a_desk.worker.succeed(a_desk.worker.last)
    assert len(later[0].replies) == 1
