"""How a collection is followed: playbooks on virtual time, and a law over all that may happen."""

from hypothesis import given
from hypothesis import strategies as st

from headgate.runtime.kubernetes import watching
from headgate.runtime.kubernetes.watching import (
    Do,
    Drop,
    Ended,
    Event,
    Failed,
    Happened,
    Item,
    List,
    Page,
    Put,
    Replace,
    Rest,
    Rested,
    State,
    Trouble,
    Watch,
    advance,
)


def dice() -> float:
    return 0.0


def play(*events: Happened, state: State | None = None) -> tuple[State, list[tuple[Do, ...]]]:
    done = []
    state = state or watching.begin()[0]
    for event in events:
        state, todo = advance(state, event, dice)
        done.append(todo)
    return state, done


A, B = Item("ns/a", "1"), Item("ns/b", "2")


def test_pages_are_put_together_and_then_watched_from_their_version() -> None:
    _, done = play(Page((A,), "9", "more"), Page((B,), "9"))
    assert done == [(List("more"),), (Replace((A, B)), Watch("9", 300))]


def test_a_watch_is_begun_again_where_it_ended() -> None:
    later, gone = Item("ns/a", "12"), Item("ns/b", "13")
    _, done = play(Page((A, B), "9"), Event("MODIFIED", later), Event("DELETED", gone), Ended(300.0))
    assert done[1:] == [(Put(later),), (Drop("ns/b"),), (Watch("13", 300),)]


def test_bookmarks_move_it_on() -> None:
    _, done = play(Page((A,), "9"), Event("BOOKMARK", Item("", "50")), Ended(300.0))
    assert done[1:] == [(), (Watch("50", 300),)]


def test_what_the_server_has_forgotten_is_listed_at_once_and_the_objects_stay_meanwhile() -> None:
    _, done = play(Page((A,), "9"), Failed(410, "too old"))
    assert done[1] == (List(),)
    # Again and again, it would ask for too much.
    _, done = play(Page((A,), "9"), Failed(410, "too old"), Page((A,), "9"), Failed(410, "too old"))
    assert done[3] == (Trouble("too old", 410), Rest(0.25))


def test_a_server_restored_from_a_backup_does_not_know_the_version() -> None:
    state, _ = play(Page((A,), "900"), Failed(504, "Too large resource version: 900, current: 7"), Rested())
    assert state.version == ""


def test_pauses_grow_to_half_a_minute_and_end_with_the_first_event() -> None:
    state, done = play(Page((A,), "9"), *[Failed(0, "refused"), Rested()] * 12)
    pauses = [one.seconds for todo in done for one in todo if isinstance(one, Rest)]
    assert pauses[:4] == [0.25, 0.5, 1.0, 2.0]
    assert pauses[-1] == 15.0
    assert done[-1] == (Watch("9", 300),)
    state, done = play(Event("ADDED", B), Failed(0, "refused"), state=state)
    assert done == [(Trouble(""), Put(B)), (Trouble("refused"), Rest(0.25))]


def test_a_server_says_how_long_to_wait() -> None:
    _, done = play(Failed(429, "too many", retry_after=7.0))
    assert done[0][-1] == Rest(7.0)


def test_nobody_grants_a_right_within_a_second() -> None:
    _, done = play(Failed(403, "forbidden"))
    assert done[0] == (Trouble("forbidden", 403), Rest(10.0))


def test_a_server_that_has_just_started_may_not_know_its_roles_yet() -> None:
    _, done = play(Page((A,), "9"), Failed(0, "refused"), Rested(), Failed(403, "clusterrole not found"))
    assert done[-1] == (Trouble("clusterrole not found", 403), Rest(0.5))


def test_a_list_that_breaks_off_is_begun_anew() -> None:
    _, done = play(Page((A,), "9", "more"), Failed(0, "reset"), Rested(), Page((B,), "10"))
    assert done[2:] == [(List(),), (Replace((B,)), Trouble(""), Watch("10", 300))]


class World:
    """A server's objects and history; what a follower asks of it is answered as it stands, or fails."""

    def __init__(self) -> None:
        self.version = 1
        self.objects: dict[str, int] = {}
        self.history: list[tuple[int, str, str]] = []
        self.forgotten = 0

    def write(self, name: str, delete: bool) -> None:
        if delete and name not in self.objects:
            return
        self.version += 1
        kind = "DELETED" if delete else "MODIFIED" if name in self.objects else "ADDED"
        self.history.append((self.version, kind, name))
        if delete:
            del self.objects[name]
        else:
            self.objects[name] = self.version


steps = st.one_of(
    st.tuples(st.just("write"), st.sampled_from("abcd"), st.booleans()),
    st.sampled_from([("answer",), ("break",), ("forget",), ("refuse",)]),
)


@given(st.lists(steps, max_size=60))
def test_whatever_happens_in_the_end_it_has_what_the_server_has(script: list[tuple[object, ...]]) -> None:
    world, held = World(), dict[str, str]()
    state, todo = watching.begin()

    def happen(happened: Happened) -> None:
        nonlocal state, todo
        state, done = advance(state, happened, dice)
        for one in done:
            match one:
                case Replace(items):
                    held.clear()
                    held.update((item.key, item.version) for item in items)
                case Put(item):
                    held[item.key] = item.version
                case Drop(key):
                    held.pop(key, None)
        if not isinstance(happened, Event):
            assert isinstance(done[-1], List | Watch | Rest)
            todo = done

    def answer() -> None:
        match todo[-1]:
            case List():
                items = tuple(Item(name, str(version)) for name, version in sorted(world.objects.items()))
                happen(Page(items, str(world.version)))
            case Rest():
                happen(Rested())
            case Watch(version) if int(version) < world.forgotten:
                happen(Failed(410, "too old"))
            case Watch(version):
                for at, kind, name in world.history:
                    if at > int(version):
                        happen(Event(kind, Item(name, str(at))))  # type: ignore[arg-type]
                happen(Ended(300.0))

    for step in script:
        match step:
            case ("write", str(name), bool(delete)):
                world.write(name, delete)
            case ("answer",):
                answer()
            case ("break",):
                happen(Rested() if isinstance(todo[-1], Rest) else Failed(0, "reset"))
            case ("refuse",):
                happen(Rested() if isinstance(todo[-1], Rest) else Failed(403, "forbidden"))
            case ("forget",):
                world.forgotten = world.version
                world.history.clear()
    for _ in range(6):
        answer()
    assert held == {name: str(version) for name, version in world.objects.items()}
