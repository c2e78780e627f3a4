"""The client and workers that do not start, or are not what they should be."""

from __future__ import annotations

import pytest

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.worker import protocol
from VoxelFeatLib.worker.client.client import Client


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
