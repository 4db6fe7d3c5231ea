"""Which Pods should there be? Tables, and whole roll-outs played through step by step."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from workloads import pod, server, spec, workload

from headgate.api.meta import Meta
from headgate.api.snapshot import Snapshot
from headgate.api.workload import PodSpec, PodTemplate, Workload
from headgate.runtime.pods.controllers import Blueprint, Changes, Existing, count, reconcile, revision


class Cluster:
    """Pods that obey at once: created ones exist, not ready; deleted ones linger until `bury`."""

    def __init__(self) -> None:
        self.pods: list[Existing] = []
        self.born = 0

    def step(self, *workloads: Workload, **kinds: object) -> Changes:
        changes = reconcile(Snapshot(workloads=workloads, **kinds), self.pods)
        self.pods = [
            msgspec.structs.replace(one, deleting=True, ready=False) if one.blueprint.key in changes.delete else one
            for one in self.pods
        ]
        for blueprint in changes.create:
            self.pods.append(Existing(blueprint, self.born))
            self.born += 1
        return changes

    def all_ready(self, how_many: int | None = None) -> None:
        waiting = [one for one in self.pods if not one.ready and not one.deleting][:how_many]
        self.pods = [msgspec.structs.replace(one, ready=True) if one in waiting else one for one in self.pods]

    def bury(self) -> None:
        self.pods = [one for one in self.pods if not one.deleting]

    def settle(self, *workloads: Workload) -> int:
        """Let everything happen that will; the smallest number of ready Pods on the way."""
        least = sum(one.ready for one in self.pods)
        for _ in range(100):
            changes = self.step(*workloads)
            least = min(least, sum(one.ready for one in self.pods))
            if not changes.create and not changes.delete and all(one.ready for one in self.pods):
                return least
            self.all_ready(1)
            self.bury()
        raise AssertionError("it never settles")

    @property
    def ready(self) -> int:
        return sum(one.ready for one in self.pods)

    @property
    def revisions(self) -> set[str]:
        return {one.blueprint.revision for one in self.pods}


def settled(work: Workload) -> Cluster:
    cluster = Cluster()
    cluster.settle(work)
    return cluster


NEW = spec(server(working_dir="/"))


def test_names_are_those_of_kubernetes_and_the_same_every_time():
    first, second = (Cluster().step(workload(3)).create for _ in range(2))
    assert first == second
    assert len({one.name for one in first}) == 3
    for one in first:
        name, template, own = one.name.rsplit("-", 2)
        assert (name, len(template), len(own)) == ("web", 10, 5)
        assert one.labels["pod-template-hash"] == template


def test_an_unchanged_snapshot_changes_nothing():
    cluster = settled(workload(3))
    assert cluster.step(workload(3)) == Changes()


def test_scaling_keeps_the_pods_there_are():
    cluster = settled(workload(2))
    before = {one.blueprint.key for one in cluster.pods}
    cluster.settle(workload(4))
    assert before < {one.blueprint.key for one in cluster.pods}


def test_scaling_down_takes_those_that_are_not_ready_then_the_youngest():
    cluster = settled(workload(4))
    keys = [one.blueprint.key for one in cluster.pods]
    cluster.pods[1] = msgspec.structs.replace(cluster.pods[1], ready=False)
    assert cluster.step(workload(2)).delete == (keys[1], keys[3])


def test_a_pod_that_is_being_deleted_keeps_its_name_and_is_replaced_at_once():
    cluster = settled(workload(2))
    cluster.step(workload(1))
    (new,) = cluster.step(workload(2)).create
    assert new.key not in {one.blueprint.key for one in cluster.pods[:2]}


def test_a_workload_that_is_gone_takes_its_pods_along():
    cluster = settled(workload(2))
    assert len(cluster.step().delete) == 2
    assert cluster.step() == Changes()


@pytest.mark.parametrize(
    ("surge", "unavailable", "least", "most"),
    [(1, 0, 4, 5), (0, 1, 3, 4), ("25%", "25%", 3, 5), ("100%", 0, 4, 8), (0, 0, 3, 4), (0, "100%", 0, 4)],
)
def test_a_rolling_update_keeps_within_surge_and_unavailable(surge, unavailable, least, most):
    cluster = settled(workload(4))
    new = workload(4, NEW, max_surge=surge, max_unavailable=unavailable)
    for _ in range(60):
        changes = cluster.step(new)
        assert cluster.ready >= least
        assert sum(not one.deleting for one in cluster.pods) <= most
        if changes == Changes() and cluster.ready == len(cluster.pods) == 4:
            break
        cluster.all_ready(1)
        cluster.bury()
    assert cluster.revisions == {revision(new.template)}


def test_an_update_that_never_gets_ready_leaves_the_old_ones_serving():
    cluster = settled(workload(3))
    for _ in range(10):
        cluster.step(workload(3, NEW, max_surge=1, max_unavailable=1))
        cluster.bury()
    assert cluster.ready == 2
    assert len(cluster.pods) == 4


def test_a_pod_counts_only_after_being_ready_for_min_ready_seconds():
    def now(at: float) -> Changes:
        return reconcile(Snapshot(workloads=(new,)), pods, at)

    new = workload(1, NEW, min_ready_seconds=10, max_surge=1, max_unavailable=0)
    (blueprint,) = Cluster().step(new).create
    old = settled(workload(1)).pods[0]
    pods = [msgspec.structs.replace(old, since=0.0), Existing(blueprint, 1)]
    assert now(100.0) == Changes()
    pods[1] = msgspec.structs.replace(pods[1], ready=True, since=100.0)
    assert now(100.0) == now(109.9) == Changes(again=110.0)
    assert now(110.0) == Changes(delete=(old.blueprint.key,))
    pods[1] = msgspec.structs.replace(pods[1], since=105.0)  # it was not ready for a moment
    assert now(110.0) == Changes(again=115.0)


def test_a_stateful_set_waits_min_ready_seconds_for_each_pod():
    work = workload(2, kind="StatefulSet", name="db", min_ready_seconds=5)
    (first,) = reconcile(Snapshot(workloads=(work,)), [], 0.0).create
    up = Existing(first, 0, ready=True, since=1.0)
    assert reconcile(Snapshot(workloads=(work,)), [up], 5.0) == Changes(again=6.0)
    assert [one.name for one in reconcile(Snapshot(workloads=(work,)), [up], 6.0).create] == ["db-1"]


def test_a_parallel_stateful_set_goes_up_and_down_at_once_and_is_updated_one_at_a_time():
    def work(replicas: int, of: PodSpec | None = None) -> Workload:
        return workload(replicas, of, kind="StatefulSet", name="db", parallel=True)

    cluster = Cluster()
    assert [one.name for one in cluster.step(work(4)).create] == ["db-0", "db-1", "db-2", "db-3"]
    assert sorted(cluster.step(work(2)).delete) == ["default/db-2", "default/db-3"]
    assert cluster.step(work(2)) == Changes()
    cluster.bury()
    assert cluster.step(work(2, NEW)).delete == ("default/db-1",)  # it does not matter that it was never ready
    assert cluster.step(work(2, NEW)) == Changes()
    cluster.bury()
    assert [one.name for one in cluster.step(work(2, NEW)).create] == ["db-1"]
    assert cluster.step(work(2, NEW)) == Changes()  # the next one when this one is ready
    cluster.all_ready()
    assert cluster.step(work(2, NEW)).delete == ("default/db-0",)
    cluster.bury()
    cluster.settle(work(2, NEW))
    assert cluster.revisions == {revision(work(2, NEW).template)}


def test_recreate_creates_nothing_before_the_old_ones_are_gone():
    cluster = settled(workload(2, recreate=True))
    new = workload(2, NEW, recreate=True)
    assert len(cluster.step(new).delete) == 2
    assert cluster.step(new) == Changes()
    cluster.bury()
    assert len(cluster.step(new).create) == 2


def test_a_stateful_set_goes_up_in_order_and_down_from_the_end():
    work = workload(3, kind="StatefulSet", name="db")
    cluster = Cluster()
    for name in ("db-0", "db-1", "db-2"):
        assert [one.name for one in cluster.step(work).create] == [name]
        assert cluster.step(work) == Changes()
        cluster.all_ready()
    smaller = workload(1, kind="StatefulSet", name="db")
    assert cluster.step(smaller).delete == ("default/db-2",)
    assert cluster.step(smaller) == Changes()
    cluster.bury()
    assert cluster.step(smaller).delete == ("default/db-1",)


def test_a_stateful_set_is_updated_from_its_last_pod_one_at_a_time():
    cluster = settled(workload(3, kind="StatefulSet", name="db"))
    new = workload(3, NEW, kind="StatefulSet", name="db")
    order = []
    while changes := cluster.step(new):
        if changes == Changes():
            break
        assert cluster.ready >= 2
        order += changes.delete
        cluster.bury()
        cluster.step(new)
        cluster.all_ready()
    assert order == ["default/db-2", "default/db-1", "default/db-0"]
    assert cluster.revisions == {revision(new.template)}


def test_a_bare_pod_that_changed_is_replaced_under_its_name():
    cluster = Cluster()
    cluster.step(pods=(pod("a"),))
    cluster.all_ready()
    assert cluster.step(pods=(pod("a"),)) == Changes()
    assert cluster.step(pods=(pod("a", NEW),)).delete == ("default/a",)
    assert cluster.step(pods=(pod("a", NEW),)) == Changes()
    cluster.bury()
    assert [one.key for one in cluster.step(pods=(pod("a", NEW),)).create] == ["default/a"]


def test_what_has_an_address_is_not_made():
    there = {"headgate.dev/address": "10.0.0.1:8000"}
    changes = Cluster().step(workload(2, annotations=there), pods=(pod("a", annotations=there),))
    assert changes == Changes()


def test_two_that_want_one_name_do_not_fight():
    cluster = Cluster()
    stateful = workload(1, kind="StatefulSet", name="a")
    assert len(cluster.step(stateful, pods=(pod("a-0"),)).create) >= 1
    cluster.all_ready()
    names = [one.blueprint.key for one in cluster.pods]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("value", "of", "up", "expected"),
    [(2, 10, True, 2), ("25%", 3, True, 1), ("25%", 3, False, 0), ("100%", 3, False, 3), ("0%", 3, True, 0)],
)
def test_surge_rounds_up_and_unavailable_down(value, of, up, expected):
    assert count(value, of, up=up) == expected


def test_a_revision_does_not_depend_on_the_order_of_labels():
    one = PodTemplate({"a": "1", "b": "2"}, {}, spec())
    two = PodTemplate({"b": "2", "a": "1"}, {}, spec())
    assert revision(one) == revision(two)
    assert revision(one) != revision(PodTemplate({"a": "1"}, {}, spec()))


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=5),
    st.sampled_from([0, 1, 2, "25%", "50%", "100%"]),
    st.sampled_from([0, 1, 2, "25%", "50%", "100%"]),
    st.booleans(),
)
def test_every_roll_out_ends_with_what_was_asked_for(replicas, surge, unavailable, recreate):
    cluster = Cluster()
    for number, wanted in enumerate(replicas):
        work = workload(
            wanted,
            spec(server(working_dir=f"/{number % 3}")),
            max_surge=surge,
            max_unavailable=unavailable,
            recreate=recreate,
        )
        cluster.settle(work)
        assert len(cluster.pods) == wanted
        assert cluster.revisions <= {revision(work.template)}


def test_blueprints_name_their_owner_and_namespace():
    work = msgspec.structs.replace(workload(1), meta=Meta("web", namespace="prod"))
    (made,) = Cluster().step(work).create
    assert isinstance(made, Blueprint)
    assert (made.namespace, made.owner) == ("prod", "Deployment prod/web")
