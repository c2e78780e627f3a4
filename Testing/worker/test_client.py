from __future__ import annotations

import numpy as np
import pytest

from Testing.worker.client_fixtures import Answer, Desk
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.worker import framing, protocol
from VoxelFeatLib.worker.client.calls import call
from VoxelFeatLib.worker.client.client import Client, WorkerError


@pytest.fixture
def a_desk() -> Desk:
    return Desk()


# ---------------------------------------------------------------------- asking


def test_a_request_starts_the_worker_and_waits_for_its_greeting(a_desk) -> None:
    answer = a_desk.ask("query", {"ras": [[1.0, 2.0, 3.0]]})
    assert a_desk.client.state == "starting"
    assert a_desk.worker.taken == []
    a_desk.worker.print(protocol.GREETING)
    assert a_desk.worker.taken == [{"type": "hello", "id": a_desk.worker.last["id"], "protocol": 1}]
    a_desk.worker.succeed(a_desk.worker.last, protocol=1, version="9.9")
    assert a_desk.client.state == "ready"
    assert a_desk.client.hello == {"protocol": 1, "version": "9.9"}
    number = answer.request.id
    assert a_desk.worker.last == {"type": "query", "id": number, "ras": [[1.0, 2.0, 3.0]]}
    a_desk.worker.say({"id": number, "event": "progress", "fraction": 0.5})
    a_desk.worker.succeed(a_desk.worker.last, inside=[True])
    assert answer.events == [{"id": number, "event": "progress", "fraction": 0.5}]
    assert answer.replies == [{"id": number, "ok": True, "inside": [True]}]
    assert answer.request.done
    assert [state for state, _ in a_desk.states] == ["starting", "ready"]


@pytest.mark.parametrize("cut", range(len(b"Welcome!" + protocol.GREETING)))
def test_what_a_remote_shell_prints_first_goes_to_the_log(a_desk, cut) -> None:
    a_desk.client.start()
    printed = b"Last login: Monday\nWelcome!" + protocol.GREETING
    a_desk.worker.print(printed[:-cut])
    a_desk.worker.print(printed[len(printed) - cut :] if cut else printed)
    assert a_desk.worker.kinds == ["hello"]
    assert list(a_desk.client.log) == ["Last login: Monday", "Welcome!"]


def test_an_error_reaches_its_request_only(a_desk) -> None:
    a_desk.ready()
    first, second = a_desk.ask("fit"), a_desk.ask("query")
    fit, query = a_desk.worker.taken[1:]
    a_desk.worker.fail(query, "no_field", extra=7)
    assert second.errors == [
        {"code": "no_field", "message": "It is no_field.", "hint": "", "extra": 7}
    ]
    assert not first.request.done
    a_desk.worker.succeed(fit)
    assert len(first.replies) == 1


def test_a_callback_that_raises_costs_no_other_message(a_desk) -> None:
    a_desk.ready()

    def stumble(_reply) -> None:
        raise ZeroDivisionError

    a_desk.client.request("query", on_reply=stumble)
    later = a_desk.ask("query")
    first, second = (message["id"] for message in a_desk.worker.taken[1:])
    with pytest.raises(ZeroDivisionError):
        a_desk.worker.say({"id": first, "ok": True}, {"id": second, "ok": True})
    assert len(later.replies) == 1


def test_messages_that_belong_to_nothing_are_ignored(a_desk) -> None:
    a_desk.ready()
    a_desk.worker.say({}, {"id": 99, "event": "progress"}, {"id": [1], "ok": True}, {"id": "1"})
    a_desk.worker.fail({"id": 0}, "bad_request")
    assert a_desk.client.state == "ready"
    assert "It is bad_request." in a_desk.client.log[-1]


def test_a_request_too_large_for_a_message_fails_alone(a_desk, monkeypatch) -> None:
    a_desk.ready()
    monkeypatch.setattr(framing, "MAX_MESSAGE", 100)
    answer = a_desk.ask("query", {"ras": "x" * 200})
    assert answer.errors == []  # not from within the asker's own call
    a_desk.clock.pass_time()
    assert answer.code == "too_large"
    assert a_desk.client.state == "ready"


# ---------------------------------------------------------------------- payloads


def blocks(count: int) -> list[bytes]:
    return [bytes([number]) * protocol.PART_BYTES for number in range(count)]


def test_a_payload_is_sent_as_the_worker_takes_it(a_desk) -> None:
    a_desk.ready()
    a_desk.worker.drain()
    a_desk.ask("open_volume", {"name": "a"}, payload=lambda: blocks(5))
    assert a_desk.worker.taken[1]["parts"] is True
    assert a_desk.worker.kinds[1:] == ["open_volume", "part", "part"]  # 8 MiB wait: no more
    query = a_desk.ask("query")
    assert a_desk.worker.last["id"] == query.request.id  # others need not wait for its end
    while a_desk.worker.pending_bytes:
        a_desk.worker.drain()
    parts = [message for message in a_desk.worker.taken if "part" in message]
    assert [part["part"] for part in parts] == [0, 1, 2, 3, 4]
    assert [part["last"] for part in parts] == [False] * 4 + [True]
    assert [part["data"][0] for part in parts] == [0, 1, 2, 3, 4]
    assert {part["id"] for part in parts} == {a_desk.worker.taken[1]["id"]}


def test_a_request_that_failed_is_sent_no_further_parts(a_desk) -> None:
    a_desk.ready()
    answer = a_desk.ask("open_volume", payload=lambda: blocks(9))
    a_desk.worker.fail(a_desk.worker.taken[1], "too_large")
    assert answer.code == "too_large"
    before = len(a_desk.worker.taken)
    a_desk.worker.drain()
    assert len(a_desk.worker.taken) == before


def test_a_payload_that_cannot_be_read_ends_its_request(a_desk) -> None:
    a_desk.ready()

    def payload():
        yield b"some"
        yield b"more"
        raise InputError("The volume is gone.")

    answer = a_desk.ask("open_volume", payload=payload)
    a_desk.clock.pass_time()
    assert answer.code == "input"
    assert answer.errors[0]["message"] == "The volume is gone."
    assert a_desk.worker.last["type"] == "cancel"
    assert a_desk.worker.last["target"] == answer.request.id


def test_a_programming_error_in_a_payload_is_raised_and_ends_its_request(a_desk) -> None:
    a_desk.ready()
    answers = []

    def payload():
        yield b""
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        a_desk.client.request("open_volume", payload=payload, on_error=answers.append)
    a_desk.clock.pass_time()
    assert [error["code"] for error in answers] == ["input"]
    a_desk.worker.drain()
    assert a_desk.client.state == "ready"


# ---------------------------------------------------------------------- cancel


def test_cancel_reaches_the_worker_which_ends_the_request(a_desk) -> None:
    a_desk.ready()
    answer = a_desk.ask("fit")
    answer.request.cancel()
    cancel = a_desk.worker.last
    assert (cancel["type"], cancel["target"]) == ("cancel", answer.request.id)
    assert not answer.request.done
    a_desk.worker.fail(a_desk.worker.taken[1], "cancelled")
    assert answer.code == "cancelled"
    a_desk.worker.succeed(cancel, found=True)
    answer.request.cancel()
    assert a_desk.worker.last is cancel
    assert len(answer.errors) == 1


def test_a_request_that_waits_for_the_worker_is_cancelled_without_it(a_desk) -> None:
    answer = a_desk.ask("fit")
    answer.request.cancel()
    a_desk.clock.pass_time()
    assert answer.code == "cancelled"
    a_desk.worker.greet()
    assert a_desk.worker.kinds == ["hello"]


def test_a_payload_cut_off_by_cancel_ends_even_if_the_worker_never_knew_it(a_desk) -> None:
    a_desk.ready()
    answer = a_desk.ask("open_volume", payload=lambda: blocks(9))
    sent = a_desk.worker.kinds.count("part")
    answer.request.cancel()
    a_desk.worker.drain()
    assert a_desk.worker.kinds.count("part") == sent
    a_desk.worker.succeed(a_desk.worker.last, found=False)
    assert answer.code == "cancelled"


# ---------------------------------------------------------------------- masks


def a_wire_mask() -> dict:
    mask = np.ones((1, 2, 3), dtype=bool)
    return protocol.pack_mask(mask, Extent.whole((1, 2, 3)), (1, 2, 3))


def test_a_mask_that_the_worker_does_not_know_is_given_and_the_request_repeated(a_desk) -> None:
    a_desk.ready()
    wire = a_wire_mask()
    answer = a_desk.ask("segment", {"current": "a"}, masks={"a": wire, "b": wire}.get)
    a_desk.worker.fail(a_desk.worker.last, "unknown_mask", keys=["b", "a"])
    assert a_desk.worker.kinds[2:] == ["put_mask", "put_mask", "segment"]
    assert [message["key"] for message in a_desk.worker.taken[2:4]] == ["a", "b"]
    assert a_desk.worker.taken[2]["mask"] == wire
    a_desk.worker.succeed(a_desk.worker.last, voxels=3)
    assert answer.replies[0]["voxels"] == 3
    assert answer.errors == []


def test_a_mask_asked_for_again_or_not_there_is_an_error(a_desk) -> None:
    a_desk.ready()
    known = a_desk.ask("segment", masks={"a": a_wire_mask()}.get)
    for _ in range(2):
        a_desk.worker.fail(a_desk.worker.last, "unknown_mask", keys=["a"])
    assert known.code == "unknown_mask"
    unknown = a_desk.ask("segment", masks={}.get)
    a_desk.worker.fail(a_desk.worker.last, "unknown_mask", keys=["a"])
    assert unknown.code == "unknown_mask"
    without = a_desk.ask("segment")
    a_desk.worker.fail(a_desk.worker.last, "unknown_mask", keys=["a"])
    assert without.code == "unknown_mask"


# ---------------------------------------------------------------------- stop, call


def test_stop_ends_the_worker_and_its_requests(a_desk) -> None:
    a_desk.ready()
    answer = a_desk.ask("fit")
    a_desk.client.stop()
    assert a_desk.worker.stopped
    assert a_desk.states[-1] == ("stopped", "")
    assert answer.code == "cancelled"


def test_restart_goes_on_with_the_volume(a_desk) -> None:
    a_desk.ready()
    a_desk.ask("open_volume", {"name": "a"}, payload=lambda: [b"voxels"])
    a_desk.worker.succeed(a_desk.worker.taken[1])
    a_desk.client.restart()
    assert a_desk.workers[0].stopped
    a_desk.worker.greet()
    assert a_desk.worker.kinds == ["hello", "open_volume", "part"]
    assert a_desk.client.state == "starting"
    a_desk.worker.succeed(a_desk.worker.taken[1])
    assert a_desk.client.state == "ready"


def test_stop_from_within_a_callback_is_the_end(a_desk) -> None:
    a_desk.client.on_state.append(lambda state, _: state == "starting" and a_desk.client.stop())
    a_desk.client.start()
    assert a_desk.workers == []
    assert a_desk.client.state == "stopped"


def test_call_returns_raises_and_gives_up_in_time(a_desk) -> None:
    a_desk.ready()

    def poll(_seconds: float) -> None:
        replies = {"good": {"ok": True, "n": 1}}
        bad = {"ok": False, "error": {"code": "busy", "message": "Busy.", "hint": "Wait."}}
        number, kind = a_desk.worker.last["id"], a_desk.worker.last["type"]
        if kind != "slow":
            a_desk.worker.say({"id": number} | replies.get(kind, bad))

    assert call(a_desk.client, "good", poll=poll)["n"] == 1
    with pytest.raises(WorkerError, match=r"Busy\. Wait\.") as caught:
        call(a_desk.client, "bad", poll=poll)
    assert caught.value.code == "busy"
    with pytest.raises(TimeoutError):
        call(a_desk.client, "slow", poll=poll, timeout=0.01)
    assert a_desk.worker.last["type"] == "cancel"


# ---------------------------------------------------------------------- never started


@pytest.mark.parametrize(
    ("code", "reason", "last_line", "said", "hint"),
    [
        (None, "there is no program nowhere", "", "there is no program nowhere", "command"),
        (255, "", "ssh: connect to host gpu-box: Connection refused", "refused", "password"),
        (127, "", "bash: voxelfeat: command not found", "not found", "full path"),
        (
            1,
            "",
            "ModuleNotFoundError: No module named 'torch'",
            "No module named 'torch'",
            "nstall",
        ),
        (3, "", "", "exit code 3", "log"),
        (-9, "", "", "killed by SIGKILL", "log"),
        (0xC0000005, "", "", "exit code 0xc0000005", "log"),
    ],
)
def test_a_worker_that_does_not_start_is_a_failure_with_a_sentence(
    a_desk, code, reason, last_line, said, hint
) -> None:
    answer = a_desk.ask("query")
    for line in (last_line, ""):
        a_desk.worker.log(line)
    a_desk.worker.exit(code, reason)
    state, sentence = a_desk.states[-1]
    assert state == "failed"
    assert sentence.startswith("The worker could not be started: ")
    assert said in sentence
    assert hint in sentence
    assert answer.code == "not_started"
    assert len(a_desk.workers) == 1
    later = a_desk.ask("query")
    a_desk.clock.pass_time()
    assert later.code == "not_started"
    a_desk.client.start()
    assert len(a_desk.workers) == 2


def test_what_was_printed_instead_of_a_greeting_is_told(a_desk) -> None:
    a_desk.client.start()
    a_desk.worker.print(b"This account is currently not available.\n")
    a_desk.worker.exit(1)
    assert "This account is currently not available." in a_desk.states[-1][1]


def test_a_transport_that_cannot_be_made_is_a_failure() -> None:
    def make():
        raise InputError("Choose a command.")

    client, answer = Client(make), []
    client.request("query", on_error=answer.append)
    assert client.state == "failed"
    assert answer[0]["message"] == "The worker could not be started: Choose a command."


def test_a_worker_that_lacks_something_says_what(a_desk) -> None:
    answer = a_desk.ask("query")
    a_desk.worker.print(protocol.GREETING)
    a_desk.worker.log("ModuleNotFoundError: No module named 'torch'")
    a_desk.worker.fail(a_desk.worker.last, "internal")
    state, sentence = a_desk.states[-1]
    assert state == "failed"
    assert sentence == (
        "The worker could not be started: ModuleNotFoundError: No module named 'torch'. "
        "Install what is missing for the Python that runs the worker."
    )
    assert answer.code == "not_started"


def test_another_version_of_the_protocol_is_a_failure(a_desk) -> None:
    answer = a_desk.ask("query")
    a_desk.worker.print(protocol.GREETING)
    a_desk.worker.succeed(a_desk.worker.last, protocol=2)
    state, sentence = a_desk.states[-1]
    assert state == "failed"
    assert "version 2" in sentence
    assert "version 1" in sentence
    assert a_desk.worker.stopped
    assert answer.code == "protocol"


def test_a_worker_that_does_not_answer_in_time_is_a_failure(a_desk) -> None:
    answer = a_desk.ask("query")
    a_desk.worker.log("loading…")
    a_desk.worker.print(protocol.GREETING)
    a_desk.clock.pass_time(119)
    assert a_desk.client.state == "starting"
    a_desk.clock.pass_time(1)
    state, sentence = a_desk.states[-1]
    assert (state, answer.code) == ("failed", "not_started")
    assert sentence == (
        "The worker did not answer within 120 seconds. Its log ends with “loading…”."
    )


def test_patience_ends_with_the_first_answer(a_desk) -> None:
    a_desk.ready()
    a_desk.clock.pass_time(1000)
    assert a_desk.client.state == "ready"


# ---------------------------------------------------------------------- died


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
