"""A reload: what an edit breaks stays as it was, and nothing else is disturbed."""

from headgate.api import Problem, Snapshot, Text, load

MODEL = """
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {{name: {name}}}
spec:
  modelName: {model}
  criticality: {criticality}
  poolRef: {{name: llama}}
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: llama}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {app}}}}}
  template:
    metadata: {{labels: {{app: {app}}}}}
    spec: {{containers: [{{name: vllm, image: vllm}}]}}
"""
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: NAME}\nspec: {ports: [{port: PORT}]}\n"


def model(name: str = "food", model: str = "food-review", criticality: str = "Standard") -> str:
    return MODEL.format(name=name, model=model, criticality=criticality)


def service(name: str, port: object) -> str:
    return SERVICE.replace("NAME", name).replace("PORT", str(port))


def reload(before: Snapshot, **files: str) -> tuple[Snapshot, tuple[Problem, ...]]:
    return load([Text(f"{name}.yaml", text) for name, text in files.items()], before)


def first(**files: str) -> Snapshot:
    snapshot, problems = load([Text(f"{name}.yaml", text) for name, text in files.items()])
    assert problems == ()
    return snapshot


def test_an_object_that_an_edit_breaks_stays_as_it_was_and_the_others_change() -> None:
    before = first(a=service("one", 80) + "---\n" + service("two", 80))
    after, problems = reload(before, a=service("one", "eighty") + "---\n" + service("two", 81))
    assert [(each.meta.name, each.ports[0].port) for each in after.services] == [("one", 80), ("two", 81)]
    assert [problem.object for problem in problems] == ["Service default/one"]


def test_a_new_object_with_errors_is_left_out() -> None:
    after, problems = reload(first(), a=service("one", "eighty"))
    assert after.services == ()
    assert len(problems) == 1


def test_a_file_whose_yaml_breaks_keeps_what_it_gave() -> None:
    before = first(a=service("one", 80), b=service("two", 80) + "---\n" + service("three", 80))
    after, problems = reload(before, a=service("one", 81), b=service("two", 82) + "---\n{" + service("three", 83))
    assert [(each.meta.name, each.ports[0].port) for each in after.services] == [
        ("one", 81),
        ("three", 80),
        ("two", 82),
    ]
    assert [problem.where.file for problem in problems] == ["b.yaml"]


def test_an_object_whose_name_is_lost_stays() -> None:
    before = first(a=service("one", 80))
    after, _ = reload(before, a=service("one", 80).replace("name:", "nam:"))
    assert after.services == before.services


def test_an_object_whose_version_is_wrong_stays() -> None:
    before = first(a=model())
    after, problems = reload(before, a=model().replace("v1alpha2", "v1alpha3"))
    assert after.models == before.models
    assert len(problems) == 1


def test_ignored_objects_of_a_broken_file_stay_too() -> None:
    account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: reader}\n"
    before = first(a=account)
    after, _ = reload(before, a=account + "---\na: {")
    assert after.ignored == before.ignored
    after, _ = reload(before, a="---\n")
    assert after.ignored == ()


def test_what_is_removed_is_gone_whether_from_its_file_or_with_it() -> None:
    before = first(a=service("one", 80) + "---\n" + service("two", 80), b=service("three", 80))
    after, problems = reload(before, a=service("two", 80))
    assert [each.meta.name for each in after.services] == ["two"]
    assert problems == ()


def test_an_object_may_move_to_another_file() -> None:
    before = first(a=service("one", 80))
    after, problems = reload(before, b=service("one", 81))
    assert problems == ()
    assert after.services[0].meta.where.file == "b.yaml"


def test_the_name_of_a_model_cannot_change() -> None:
    before = first(a=model())
    after, problems = reload(before, a=model(model="drink-review", criticality="Critical"))
    assert after.models == before.models
    assert [str(problem) for problem in problems] == [
        "a.yaml:6: spec.modelName: it cannot be changed: write what it was, or give the object a new name "
        "(it stays as it was)"
    ]
    after, problems = reload(before, a=model(criticality="Critical"))
    assert problems == ()
    assert after.models[0].criticality == "Critical"


def test_the_selector_of_a_deployment_cannot_change() -> None:
    before = first(a=DEPLOYMENT.format(replicas=1, app="llama"))
    after, problems = reload(before, a=DEPLOYMENT.format(replicas=2, app="gemma"))
    assert after.workloads == before.workloads
    assert [problem.field for problem in problems] == ["spec.selector"]
    after, problems = reload(before, a=DEPLOYMENT.format(replicas=2, app="llama"))
    assert problems == ()
    assert after.workloads[0].replicas == 2


def test_a_deployment_and_a_stateful_set_of_one_name_are_two_objects() -> None:
    stateful = DEPLOYMENT.replace("Deployment", "StatefulSet")
    texts = DEPLOYMENT.format(replicas=1, app="a") + "---" + stateful.format(replicas=2, app="b")
    before = first(a=texts)
    assert [(each.kind, each.replicas) for each in before.workloads] == [("Deployment", 1), ("StatefulSet", 2)]
    assert reload(before, a=texts) == (before, ())


def test_a_taken_node_port_leaves_the_second_service_as_it_was() -> None:
    node = service("NAME", 80).replace("ports: [{port: 80}]", "type: NodePort, ports: [{port: 80, nodePort: 30080}]")
    before = first(a=node.replace("NAME", "one"), b=service("two", 80))
    after, problems = reload(before, a=node.replace("NAME", "one"), b=node.replace("NAME", "two"))
    assert after == before
    assert [problem.field for problem in problems] == ["spec.ports[0].nodePort"]


def test_the_same_texts_give_an_equal_snapshot() -> None:
    texts = {"a": model() + "---\n" + service("one", 80), "b": DEPLOYMENT.format(replicas=1, app="a")}
    before = first(**texts)
    assert reload(before, **texts) == (before, ())


def _route(port: int) -> str:
    return (
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: llm}\n"
        f"spec:\n  rules: [{{backendRefs: [{{name: svc, port: {port}}}]}}]\n"
    )


def _ports(snapshot: Snapshot) -> list[int | None]:
    return [ref.port for route in snapshot.routes for rule in route.rules for ref in rule.backend_refs]


def test_of_an_object_in_two_files_the_last_by_name_counts_in_whatever_order_they_are_given() -> None:
    texts = [Text("a.yaml", _route(1)), Text("b.yaml", _route(2))]
    for given in (texts, texts[::-1]):
        snapshot, problems = load(given)
        assert _ports(snapshot) == [2]
        assert [(p.severity, p.where.file) for p in problems] == [("warning", "a.yaml")]
        assert "HTTPRoute default/llm is written again at b.yaml:1, which counts" in problems[0].message


def test_where_the_last_has_errors_an_earlier_one_does_not_come_back() -> None:
    texts = [Text("a.yaml", _route(1)), Text("b.yaml", _route(70_000))]
    assert _ports(load(texts)[0]) == []
    before, _ = load([Text("b.yaml", _route(2))])
    assert _ports(load(texts, before)[0]) == [2]


def test_where_the_file_of_the_last_is_no_yaml_any_more_an_earlier_one_does_not_come_back() -> None:
    texts = [Text("a.yaml", _route(1)), Text("b.yaml", _route(2))]
    before, _ = load(texts)
    now, problems = load([texts[0], Text("b.yaml", "a: [")], before)
    assert _ports(now) == [2]
    assert [(p.severity, p.where.file) for p in problems] == [("warning", "a.yaml"), ("error", "b.yaml")]
    assert _ports(load([texts[0]], now)[0]) == [1]
