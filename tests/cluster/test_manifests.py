"""cluster/: every file fits Ray's schema or KubeRay's CRDs, runs commands that exist, and gives no more than needed."""

import functools
import json
import re
import shlex
import tomllib
import zoneinfo
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import typer
import yaml

from clipfake.cli.app import app

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
CRDS = ROOT.parent / "shared" / "kuberay-crds"
KUBERAY = sorted((CLUSTER / "kuberay").glob("*.yaml"))
LAUNCHERS = [CLUSTER / "aws.yaml", CLUSTER / "gcp.yaml"]
KUBERNETES = (ROOT / "docs" / "kubernetes.md").read_text()
PLURALS = {"RayJob": "rayjobs", "RayCronJob": "raycronjobs", "RayCluster": "rayclusters"}


@functools.cache
def _documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.load_all(path.read_text(), yaml.CSafeLoader))  # the CRDs have megabytes


OBJECTS = [document for path in KUBERAY for document in _documents(path)]
JOBS = {
    o["kind"] + (o["metadata"].get("generateName") or o["metadata"]["name"]): o for o in OBJECTS if "Ray" in o["kind"]
}


def _job(document: dict[str, Any]) -> dict[str, Any]:
    return document["spec"].get("jobTemplate", document["spec"])


def _pods(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The templates of all pods of a job."""
    job = _job(document)
    cluster = job["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [job["submitterPodTemplate"], *(group["template"] for group in groups)]


def _strict(schema: Any) -> Any:
    """An OpenAPI schema of a CRD as a JSON schema that refuses unknown fields, which the API server silently drops."""
    if isinstance(schema, list):
        return [_strict(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return {}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    strict = {key: _strict(value) for key, value in schema.items() if key not in ("description", "format", "default")}
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        strict["properties"] = {name: _strict(value) for name, value in schema["properties"].items()}
        strict.setdefault("additionalProperties", False)
    return strict


def _validate(document: dict[str, Any]) -> None:
    if not CRDS.is_dir():
        pytest.skip("needs ../shared/kuberay-crds, which is only on development machines")
    (crd,) = _documents(CRDS / f"ray.io_{PLURALS[document['kind']]}.yaml")
    version = document["apiVersion"].rpartition("/")[2]
    (served,) = (v for v in crd["spec"]["versions"] if v["name"] == version)
    schema = served["schema"]["openAPIV3Schema"]
    assert document.keys() == {"apiVersion", "kind", "metadata", "spec"}
    # `jsonschema.validate` would first check the schema itself, for many seconds.
    jsonschema.Draft7Validator(_strict(schema["properties"]["spec"])).validate(document["spec"])


@pytest.mark.parametrize("name", JOBS)
def test_kuberay_objects_fit_the_crds(name):
    _validate(JOBS[name])


def test_a_field_that_the_crd_does_not_know_is_found():
    job = yaml.safe_load(yaml.safe_dump(JOBS["RayJobclipfake-score-"]))
    job["spec"]["rayClusterSpec"]["authOption"] = {"mode": "token"}
    with pytest.raises(jsonschema.ValidationError, match="authOption"):
        _validate(job)


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.name)
def test_launcher_files_fit_rays_schema(path):
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    (config,) = _documents(path)
    jsonschema.validate(config, schema)
    types = config["available_node_types"]
    assert config["head_node_type"] in types
    assert "--num-cpus=0" in config["head_start_ray_commands"][-1], "the head leads and does no work"
    assert types["head"]["resources"] == {"CPU": 0}
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]
    assert sum(node.get("min_workers", 0) for node in types.values()) <= config["max_workers"]


def test_rays_version_is_everywhere_the_one_of_pyproject():
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (version,) = (m[1] for m in (re.fullmatch(r"ray\[.*\]==([\d.]+)", r) for r in requirements) if m)
    assert re.search(rf"^ray\[?.*==({re.escape(version)})", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert re.findall(r"^FROM rayproject/ray:([\d.]+)-", (CLUSTER / "Dockerfile").read_text(), re.MULTILINE) == [
        version
    ]
    assert {_job(job)["rayClusterSpec"]["rayVersion"] for job in JOBS.values()} == {version}
    assert ray.__version__ == version


def test_all_jobs_have_the_same_cluster():
    specs = [json.dumps([_job(job)["rayClusterSpec"], _job(job)["submitterPodTemplate"]]) for job in JOBS.values()]
    assert len(specs) == 3
    assert len(set(specs)) == 1


@pytest.mark.parametrize("name", JOBS)
def test_pods_may_do_no_more_than_they_need(name):
    for pod in _pods(JOBS[name]):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
            volumes = {volume["name"]: volume["emptyDir"] for volume in spec["volumes"]}
            mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
            assert mounts.keys() >= {"/tmp", "/home/ray/.cache"}, "Ray's session and weights are written there"
            assert all("sizeLimit" in volume for volume in volumes.values())
            assert container["resources"]["limits"].keys() >= {"cpu", "memory"}
            assert "env" not in container, "keys come from the pod's identity, the token from KubeRay"


@pytest.mark.parametrize("name", JOBS)
def test_the_dashboard_asks_for_a_token_and_only_the_cluster_and_kuberay_reach_it(name):
    assert _job(JOBS[name])["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    (policy,) = (o for o in OBJECTS if o["kind"] == "NetworkPolicy")
    wanted = policy["spec"]["podSelector"]["matchLabels"]
    assert all(pod["metadata"]["labels"].items() >= wanted.items() for pod in _pods(JOBS[name]))
    own, operator, prometheus = policy["spec"]["ingress"]
    assert own == {"from": [{"podSelector": {"matchLabels": wanted}}]}
    for rule, name, port in ((operator, "kuberay-operator", 8265), (prometheus, "prometheus", 8080)):
        (peer,) = rule["from"]
        assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": name}
        assert peer["namespaceSelector"]["matchLabels"], "in one namespace, not in any"
        assert [one["port"] for one in rule["ports"]] == [port]
    assert "prometheus" in KUBERNETES.lower() and "8080" in KUBERNETES


def test_the_cluster_talks_to_itself_to_dns_to_stores_and_to_a_metadata_server():
    (policy,) = (o for o in OBJECTS if o["kind"] == "NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    own, *others = policy["spec"]["egress"]
    assert own == {"to": [{"podSelector": policy["spec"]["podSelector"]}]}
    allowed = [{port["port"] for port in rule["ports"]} for rule in others]
    assert allowed == [{53}, {443}, {80}, {988}]
    assert [rule for rule in others if "to" not in rule] == [others[1]], "only HTTPS goes anywhere"


@pytest.mark.parametrize("name", JOBS)
def test_a_job_has_a_deadline(name):
    deadline = _job(JOBS[name])["activeDeadlineSeconds"]
    assert 0 < deadline <= (86400 if "night" in name else 7 * 86400)


@pytest.mark.parametrize("name", JOBS)
def test_pods_run_as_the_account(name):
    accounts = {o["metadata"]["name"] for o in OBJECTS if o["kind"] == "ServiceAccount"}
    used = {pod["spec"].get("serviceAccountName") for pod in _pods(JOBS[name])[1:]}
    assert used == accounts


@pytest.mark.parametrize("name", JOBS)
def test_entrypoints_are_commands_that_exist(name):
    _parse(_job(JOBS[name])["entrypoint"])


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.name)
def test_what_launcher_files_say_to_run_exists(path):
    (command,) = re.findall(r"ray job submit -- (.+)", path.read_text())
    _parse(command)


def _parse(command: str) -> None:
    """Raises where the command line would refuse it."""
    program, name, *arguments = shlex.split(command)
    assert program == "clipfake"
    group: Any = typer.main.get_command(app)
    group.commands[name].make_context(name, arguments)


def test_the_night_has_a_time_in_a_zone_that_exists():
    night = JOBS["RayCronJobclipfake-night"]["spec"]
    minute, hour, *rest = night["schedule"].split()
    assert (0 <= int(minute) < 60, 0 <= int(hour) < 24, rest) == (True, True, ["*", "*", "*"])
    assert night["timeZone"] in zoneinfo.available_timezones()
    assert night["suspend"] is False


def test_the_image_gets_what_it_copies_and_nothing_else():
    copied = re.findall(r"^COPY --chown=\S+ (.+) \S+$", (CLUSTER / "Dockerfile").read_text(), re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert all((ROOT / source).exists() for source in sources)
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(allowed) == sorted(sources)


def test_no_key_lies_in_a_file():
    text = "".join(path.read_text() for path in [*KUBERAY, *LAUNCHERS, CLUSTER / "Dockerfile"])
    assert not re.search(
        r"AKIA|BEGIN .*PRIVATE KEY|(secret|password|token)\s*[:=]\s*['\"]?[A-Za-z0-9+/]{16,}", text, re.I
    )
