"""A short run of the chaos, and that its account sees what it is for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from chaos.account import Account, Entry, faults
from chaos.client import Answer, judge
from chaos.questions import Question
from chaos.tokens import Watch, token

ROOT = Path(__file__).parents[2]


def test_every_request_is_accounted_for_while_everything_breaks() -> None:
    command = [sys.executable, "-m", "chaos", "--seconds", "5", "-o", "json"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=120)
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    assert (done.returncode, said["violations"]) == (0, []), f"seed {said['seed']}\n{done.stderr}"
    assert said["requests"] == sum(said["outcomes"].values()) > 200
    assert said["outcomes"]["answered"] > said["requests"] / 2
    assert len(said["events"]) >= 4, said["events"]


def entry(outcome: str, status: int = 200, kind: str = "chat", **said: object) -> Entry:
    """A request that all agree on, but for what is `said`."""
    made = Entry(1)
    made.kind, made.outcome, made.status = kind, outcome, status
    made.got = made.last = 1
    made.done = [200] if outcome == "answered" else []
    made.logged = [(status, "" if outcome == "answered" else "reset")]
    for name, value in said.items():
        setattr(made, name, value)
    return made


def test_what_all_agree_on_is_no_fault() -> None:
    for outcome, status in (("answered", 200), ("refused", 502), ("broken", 200), ("cancelled", 0)):
        assert faults(entry(outcome, status)) == []


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        (entry("answered", logged=[]), "the access log says nothing"),
        (entry("answered", logged=[(200, ""), (200, "")]), "2 times"),
        (entry("answered", logged=[(502, "")]), "the access log says"),
        (entry("refused", 503, logged=[(503, "")]), "does not say why"),
        (entry("answered", done=[200, 200]), "2 endpoints have answered"),
        (entry("answered", last=0, done=[]), "looks whole"),
        (entry("refused", 502, done=[200]), "that was lost"),
        (entry("broken", done=[200]), "that was lost"),
        (entry("answered", kind="web post", got=2), "must not be done twice"),
        (entry("answered", got=7), "7 endpoints were asked"),
    ],
)
def test_where_they_differ_there_is_a_fault(wrong: Entry, law: str) -> None:
    assert any(law in text for text in faults(wrong))


def test_what_comes_after_a_request_was_settled_is_a_violation() -> None:
    account = Account()
    first = account.issue()
    first.got = first.last = 1
    first.done, first.logged = [200], [(200, "")]
    account.end(first, "answered", 200)
    account.issue()
    account.settle(all_of_them=True)
    assert account.violations == [f"{token(2)} () never ended"]
    account.heard_of_gateway(json.dumps({"id": token(1), "status": 200, "error": ""}))
    account.heard_of_endpoint(f"got {token(1)} GET")
    account.heard_of_endpoint("odd something")
    assert account.violated == 4


def test_a_token_of_another_request_is_seen_wherever_it_is_cut() -> None:
    text = f"{token(1)} and {token(2)}".encode()
    for cut in range(len(text)):
        watch = Watch(token(1))
        watch.feed(text[:cut])
        watch.feed(text[cut:])
        assert watch.strange == token(2)
    watch = Watch(token(1))
    watch.feed(token(1).encode() * 3)
    assert watch.strange == ""


QUESTION = Question("chat", token(1), b"x-want: plain 100\r\n", model="base")
GOOD = {
    "id": f"chat-{token(1)}", "token": token(1), "method": "POST", "model": "base", "fill": f"{token(1)}." * 9,
}  # fmt: skip


def answer(said: object, status: int = 200, request_id: str = token(1), whole: bool = True) -> Answer:
    return Answer(status, {"x-request-id": request_id}, json.dumps(said).encode(), whole)


def test_an_answer_is_judged_by_all_that_it_says() -> None:
    assert judge(QUESTION, answer(GOOD)) == ("answered", "")
    assert judge(QUESTION, answer(GOOD, whole=False)) == ("broken", "")
    assert judge(QUESTION, answer({"error": {"message": "why"}}, 503)) == ("refused", "")
    wrong = (
        answer(GOOD, request_id=token(2)),
        answer(GOOD, 201),
        answer({**GOOD, "token": token(2)}),
        answer({**GOOD, "model": "alias"}),
        answer({**GOOD, "fill": GOOD["fill"][:-1]}),
        answer({"error": {"message": ""}}, 503),
        answer({"error": {"message": "why"}}, 500),
    )
    assert all(judge(QUESTION, one)[1] for one in wrong)


@pytest.mark.parametrize(
    ("end", "outcome", "wrong"),
    [
        ("data: [DONE]\n\n", "answered", False),
        ("", "answered", True),
        ('data: {"error":{"message":"why"}}\n\n', "broken", False),
        ('data: {"n": 7, "model": "base"}\n\ndata: [DONE]\n\n', "answered", True),
        ('data: {"n": 1, "model": "base"}\n\ndata: {"usage": {"a": 1}}\n\ndata: [DONE]\n\n', "answered", True),
    ],
)
def test_a_stream_that_stops_is_told_from_one_that_ends(end: str, outcome: str, wrong: bool) -> None:
    question = Question("stream", token(1), b"", model="base", events=1)
    headers = {"x-request-id": token(1), "content-type": "text/event-stream"}
    body = 'data: {"n": 0, "model": "base"}\n\n' + end
    found = judge(question, Answer(200, headers, body.encode(), True))
    assert (found[0], bool(found[1])) == (outcome, wrong)
