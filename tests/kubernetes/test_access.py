"""Kubeconfigs and service accounts, good and bad."""

from pathlib import Path

import pytest

from headgate.runtime.kubernetes.access import Access, AccessError, Pem, User, find, in_cluster, read

CONFIG = """\
apiVersion: v1
kind: Config
current-context: dev
contexts:
- {name: dev, context: {cluster: one, user: me, namespace: team}}
- {name: prod, context: {cluster: two, user: nobody}}
- {name: broken, context: {cluster: three, user: me}}
clusters:
- {name: one, cluster: {server: "https://10.0.0.1:6443/", certificate-authority: ca.crt, tls-server-name: kube}}
- {name: two, cluster: {server: "https://prod", insecure-skip-tls-verify: true, proxy-url: "http://proxy:3128"}}
- {name: three, cluster: {server: "10.0.0.1"}}
users:
- {name: me, user: {client-certificate-data: QUJD, client-key: keys/me.key, tokenFile: /run/token}}
- {name: nobody, user: {username: a, password: b}}
"""


def _file(directory: Path, text: str = CONFIG, name: str = "config") -> str:
    file = directory / name
    file.write_text(text)
    return str(file)


def test_a_context_says_where_and_who(tmp_path: Path) -> None:
    found = read([_file(tmp_path)])
    assert found == Access(
        server="https://10.0.0.1:6443",
        namespace="team",
        authorities=Pem(str(tmp_path / "ca.crt")),
        server_name="kube",
        user=User(token_file="/run/token", certificate=Pem(data=b"ABC"), key=Pem(str(tmp_path / "keys/me.key"))),
    )
    other = read([_file(tmp_path)], "prod")
    assert (other.insecure, other.proxy, other.user.basic) == (True, "http://proxy:3128", ("a", "b"))


def test_of_several_files_the_first_that_says_it_counts(tmp_path: Path) -> None:
    first = _file(tmp_path, "contexts:\n- {name: dev, context: {cluster: two, user: nobody}}\n", "first")
    found = find("", "", {"KUBECONFIG": f"{first}:{tmp_path}/missing:{_file(tmp_path)}"})
    assert found.server == "https://prod"


@pytest.mark.parametrize(
    ("text", "context", "told"),
    [
        (CONFIG, "nowhere", "there is no context nowhere; there are: dev, prod, broken"),
        (CONFIG, "broken", "server '10.0.0.1' is no URL: write https://HOST:PORT"),
        (CONFIG.replace("current-context: dev\n", ""), "", "current-context is missing"),
        (CONFIG.replace("QUJD", "Q-JD"), "", "certificate data is no base64"),
        (CONFIG.replace("cluster: one,", "cluster: four,"), "", "names cluster 'four'"),
        (CONFIG.replace("tokenFile: /run/token", "auth-provider: {name: gcp}"), "", "auth-provider is not known"),
        (CONFIG.replace("tokenFile: /run/token", "exec: {command: x}"), "", "required field `apiVersion`"),
        ("- a", "", "it is no kubeconfig"),
        ("a: [", "", "it is no YAML"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, text: str, context: str, told: str) -> None:
    with pytest.raises(AccessError) as raised:
        read([_file(tmp_path, text)], context)
    assert told in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_a_pod_goes_by_its_service_account(tmp_path: Path) -> None:
    for name, text in (("token", "t"), ("namespace", "prod\n"), ("ca.crt", "")):
        (tmp_path / name).write_text(text)
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443", "HOME": "/nowhere"}
    found = find("", "", environment, tmp_path)
    assert found == in_cluster(environment, tmp_path)
    assert found.server == "https://[fd00::1]:443"
    assert (found.namespace, found.user.token_file) == ("prod", str(tmp_path / "token"))


def test_nowhere_to_go_is_told(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="give --kubeconfig FILE"):
        find("", "", {"HOME": str(tmp_path)}, tmp_path)
