"""The manifests in deploy/kubernetes/ are right by Kubernetes' own schemas, ask for no more than its strictest standard
allows, and fit the project: its settings, its commands, its probes and how it ends. No cluster is needed.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import load_command_class
from ruamel.yaml import YAML

from cacheapp.management.refresh_command import EXIT_NOT_NOW
from dev.servers.redis import redis_server
from esassistant import settings
from esassistant.management.commands.serve import DUE_MIGRATIONS, GRACE_SECONDS

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "deploy" / "kubernetes"
MANIFESTS = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
KUSTOMIZATION: dict[str, Any] = YAML(typ="safe").load(FOLDER / "kustomization.yaml")
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
DOCUMENT = (ROOT / "docs" / "operations.md").read_text()

SCHEMAS = "1.37"
"""The version of Kubernetes whose schemas they are held to."""
OURS = {"esassistant", "esassistant-migrate", "esassistant-refresh"}
OF_KUBERNETES = {"FORWARDED_ALLOW_IPS", "REDIS_PASSWORD", "POD_IP"}
"""Read by the manifests themselves."""
IDS = {"esassistant": 10001, "redis": 999}
"""The users of the images: ours by its Dockerfile, Redis' by its own."""

Object = dict[str, Any]


def objects() -> list[Object]:
    return [each for path in MANIFESTS for each in YAML(typ="safe").load_all(path.read_text())]


def pod(each: Object) -> Object:
    """The specification of the pods that a workload makes."""
    spec = each["spec"]["jobTemplate"]["spec"] if each["kind"] == "CronJob" else each["spec"]
    found: Object = spec["template"]["spec"]
    return found


WORKLOADS = [each for each in objects() if each["kind"] in ("Deployment", "Job", "CronJob")]
BY_NAME = {each["metadata"]["name"]: each for each in WORKLOADS}
SERVER = pod(BY_NAME["esassistant"])


def container(name: str) -> Object:
    [found] = pod(BY_NAME[name])["containers"]
    return dict(found)


def variables(name: str) -> set[str]:
    """What a file of `NAME=value` lines sets."""
    return set(re.findall(r"^([A-Z_]+)=", (FOLDER / name).read_text(), re.MULTILINE))


def labels_of_pods(each: Object) -> Object:
    spec = each["spec"]["jobTemplate"]["spec"] if each["kind"] == "CronJob" else each["spec"]
    found: Object = spec["template"]["metadata"]["labels"]
    return found


# Kubernetes' own tools


def run(*command: str | Path) -> str:
    """What a command prints; one that fails says why."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_the_schemas(path: Path) -> None:
    """Each object is one by Kubernetes' schemas, without a member that they don't know."""
    validate = Path(sys.executable).with_name("kubernetes-validate")
    run(validate, "--strict", "--kubernetes-version", SCHEMAS, path)


@pytest.mark.parametrize("everything", [False, True], ids=["as it is", "with what is optional"])
def test_kubectl_builds_them(everything: bool, tmp_path: Path) -> None:
    """`kubectl kustomize` makes all of them of the folder, with the image, the namespace and the settings put in."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed here (https://kubernetes.io/docs/tasks/tools/)")
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    (tmp_path / "secrets.env.example").rename(tmp_path / "secrets.env")
    if everything:
        text = (tmp_path / "kustomization.yaml").read_text()
        (tmp_path / "kustomization.yaml").write_text(re.sub(r"^  # - ", "  - ", text, flags=re.MULTILINE))
    built = list(YAML(typ="safe").load_all(run("kubectl", "kustomize", tmp_path)))
    wanted = {
        "esassistant",
        "esassistant-migrate",
        *(["esassistant-refresh", "esassistant-redis"] if everything else []),
    }
    made = {each["metadata"]["name"]: each for each in built if each["kind"] in ("Deployment", "Job", "CronJob")}
    assert made.keys() == wanted
    assert {each["metadata"].get("namespace") for each in built if each["kind"] != "Namespace"} == {"esassistant"}
    assert {pod(made[name])["containers"][0]["image"] for name in wanted & OURS} == {
        "registry.example.org/esassistant:2.0.0"
    }
    sources = {
        kind: {each["metadata"]["name"] for each in built if each["kind"] == kind} for kind in ("ConfigMap", "Secret")
    }
    for name in wanted & OURS:
        config, secret = pod(made[name])["containers"][0]["envFrom"]
        assert {config["configMapRef"]["name"]} == sources["ConfigMap"] != {"esassistant"}
        assert {secret["secretRef"]["name"]} == sources["Secret"] != {"esassistant"}


def test_everything_is_in_the_kustomization() -> None:
    """Each manifest is a resource of it, or stands there to be taken in."""
    text = (FOLDER / "kustomization.yaml").read_text()
    assert sorted(re.findall(r"^  (?:# )?- (\S+\.yaml)$", text, re.MULTILINE)) == [path.name for path in MANIFESTS]
    assert not {"redis.yaml", "refresh.yaml"} & set(KUSTOMIZATION["resources"])


# Rights


@pytest.mark.parametrize("each", WORKLOADS, ids=lambda each: str(each["metadata"]["name"]))
def test_rights(each: Object) -> None:
    """An ordinary user without capabilities, on read-only files, with no way to Kubernetes: what the Pod Security
    Standard "restricted" demands, which the namespace enforces, and more.
    """
    spec = pod(each)
    user = IDS["redis" if each["metadata"]["name"] == "esassistant-redis" else "esassistant"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        **dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), user),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert not spec["automountServiceAccountToken"]
    assert not spec["enableServiceLinks"]
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys()
    [only] = spec["containers"]
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    # All that can be written is of a known size, and goes with the pod.
    assert all(volume["emptyDir"]["sizeLimit"] for volume in spec["volumes"])
    assert {each["name"] for each in spec["volumes"]} == {each["name"] for each in only["volumeMounts"]}
    assert only["resources"].keys() == {"requests", "limits"}
    assert "memory" in only["resources"]["limits"]


def test_the_namespace_enforces_it() -> None:
    """A pod that asked for more would be refused there."""
    [namespace] = [each for each in objects() if each["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    assert namespace["metadata"]["name"] == KUSTOMIZATION["namespace"]


def test_the_user_is_the_images() -> None:
    """Who runs it is who the image is made for; what the service writes, it can write there."""
    assert re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE) == [str(IDS["esassistant"])]
    [database] = re.findall(r"DATABASE_URL=sqlite:///(\S+)/[\w.]+$", DOCKERFILE, re.MULTILINE)
    for name in OURS:
        assert {each["mountPath"] for each in container(name)["volumeMounts"]} == {database, "/tmp"}  # noqa: S108


# Settings


def test_variables() -> None:
    """What is set are settings, or read by the manifests; secrets are in the Secret alone, and its example is empty."""
    known = set(settings.ESASSISTANT_SETTINGS)
    assert variables("settings.env") <= known | OF_KUBERNETES
    assert variables("secrets.env.example") <= known | OF_KUBERNETES
    assert not [name for name in variables("settings.env") if re.search("KEY|TOKENS|PASSWORD|DATABASE|REDIS", name)]
    assert not re.search(r"^[A-Z_]+=.", (FOLDER / "secrets.env.example").read_text(), re.MULTILINE)
    assert "deploy/kubernetes/secrets.env" in (ROOT / ".gitignore").read_text().splitlines()
    for name in OURS:
        assert container(name)["envFrom"] == [
            {"configMapRef": {"name": "esassistant"}},
            {"secretRef": {"name": "esassistant"}},
        ]
    read = set(re.findall(r"\$\(([A-Z_]+)\)", json.dumps(container("esassistant"))))
    assert read <= variables("settings.env") | {"POD_IP"}
    assert {each["name"] for each in container("esassistant")["env"]} <= known | OF_KUBERNETES


# Commands, probes, the end


def understood(owner: str, words: list[str]) -> dict[str, Any]:
    """The options of a command line; one that isn't understood ends the test."""
    return vars(load_command_class(owner, words[0]).create_parser("manage.py", words[0]).parse_args(words[1:]))


def test_commands_are_understood() -> None:
    """What the containers run exists and knows these options; one process serves on the port of the probes."""
    served = understood("esassistant", container("esassistant")["args"])
    [port] = container("esassistant")["ports"]
    assert (served["host"], served["port"], served["workers"]) == ("0.0.0.0", port["containerPort"], 1)  # noqa: S104
    understood("django.core", container("esassistant-migrate")["args"])
    shell, flag, line = container("esassistant-refresh")["command"]
    assert (shell, flag) == ("sh", "-c")
    command, _, otherwise = line.partition(" || ")
    assert command.startswith("python manage.py refresh_cache ")
    understood("cacheapp", command.split()[2:])
    assert otherwise == f"[ $? -eq {EXIT_NOT_NOW} ]"
    assert f"end with\n# {DUE_MIGRATIONS}," in (FOLDER / "migrate.yaml").read_text()


def test_probes() -> None:
    """A pod lives while it answers `/livez`, and gets requests while `/readyz` says so; neither asks the cluster."""
    probes = {name: container("esassistant")[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
    assert {name: probe["httpGet"] for name, probe in probes.items()} == {
        "startup": {"path": "/livez", "port": "http"},
        "readiness": {"path": "/readyz", "port": "http"},
        "liveness": {"path": "/livez", "port": "http"},
    }
    # A start may take a minute, and a loop that is late for some seconds isn't killed.
    assert probes["startup"]["periodSeconds"] * probes["startup"]["failureThreshold"] >= 60
    assert probes["liveness"]["periodSeconds"] * (probes["liveness"]["failureThreshold"] - 1) >= 20


def test_there_is_time_to_drain() -> None:
    """The pod isn't killed while it drains or ends requests, and its readiness is noticed before draining is over."""
    [drain] = re.findall(r"^ESASSISTANT_DRAIN_SECONDS=(\d+)$", (FOLDER / "settings.env").read_text(), re.MULTILINE)
    assert SERVER["terminationGracePeriodSeconds"] >= int(drain) + GRACE_SECONDS + 10
    readiness = container("esassistant")["readinessProbe"]
    assert readiness["periodSeconds"] * readiness["failureThreshold"] <= int(drain)
    # SIGTERM reaches a process that isn't number 1, which would ignore it until it has a handler.
    assert SERVER["shareProcessNamespace"]
    assert "lifecycle" not in container("esassistant")


def test_no_two_go_at_once() -> None:
    """An upgrade takes no pod away before another is ready, and a node that is drained at most one at a time."""
    server = BY_NAME["esassistant"]["spec"]
    assert server["replicas"] >= 2
    assert server["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    [budget] = [each["spec"] for each in objects() if each["kind"] == "PodDisruptionBudget"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= labels_of_pods(BY_NAME["esassistant"]).items()


def test_services_and_policies_choose_their_pods() -> None:
    """A selector finds the pods of its own workload and no others'; the port's name is one that they have."""
    for each in objects():
        if each["kind"] not in ("Service", "NetworkPolicy"):
            continue
        selector = each["spec"].get("selector") or each["spec"]["podSelector"]["matchLabels"]
        chosen = {name for name, workload in BY_NAME.items() if selector.items() <= labels_of_pods(workload).items()}
        assert chosen == {each["metadata"]["name"]}
        [port] = container(each["metadata"]["name"])["ports"]
        assert {item.get("targetPort", item["port"]) for item in ports_of(each)} == {port["name"]}
    [policy] = [each["spec"] for each in objects() if each["kind"] == "NetworkPolicy"]
    [allowed] = policy["ingress"][0]["from"]
    reaching = {
        name
        for name, workload in BY_NAME.items()
        if allowed["podSelector"]["matchLabels"].items() <= labels_of_pods(workload).items()
    }
    assert reaching >= OURS


def ports_of(each: Object) -> list[Object]:
    """Of a Service, or of the only rule of a NetworkPolicy."""
    found: list[Object] = each["spec"]["ports"] if each["kind"] == "Service" else each["spec"]["ingress"][0]["ports"]
    return found


def test_redis() -> None:
    """It has the major version of the one that the tests run on, and its file of settings is where it may write."""
    said = subprocess.run([redis_server(), "--version"], capture_output=True, text=True, check=True).stdout
    [major] = re.findall(r"v=(\d+)\.", said)
    only = container("esassistant-redis")
    assert re.fullmatch(rf"redis:{major}(\.\d+)*-\w+", only["image"])
    [mounted] = [each["mountPath"] for each in only["volumeMounts"]]
    assert f"> {mounted}/redis.conf" in only["command"][2]
    assert f"--dir {mounted} " in only["command"][2]
    assert BY_NAME["esassistant-redis"]["spec"]["strategy"] == {"type": "Recreate"}


def test_the_documentation_names_every_file() -> None:
    """docs/operations.md says what each file is for."""
    files = [path.name for path in FOLDER.iterdir() if path.name != "secrets.env"]
    assert [name for name in files if f"`{name}`" not in DOCUMENT] == []
