"""The client with a scripted worker: requests, payloads, masks, cancel, the end."""

from __future__ import annotations

import pytest

from Testing.worker.client_fixtures import a_wire_mask, blocks
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.worker import framing, protocol
from VoxelFeatLib.worker.client.calls import call
from VoxelFeatLib.worker.client.client import WorkerError

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
