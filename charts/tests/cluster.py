"""The life of a release on a real cluster, step after step: each begins where the one before ended."""

import json
import unittest
from pathlib import Path

import helm
import kubectl
import yaml

# Where the operator, Redis and the API are, and where the pool is.
SYSTEM, TENANT = "charts-system", "charts-tenant"
CRD = "crd/workerpools.workerpool.dev"
POOL = "renders"
FIRST, SECOND = "workerpool", "second"
PARTS = ["--set=api.enabled=true", "--set=redis.enabled=true"]
SECONDS = 90

POOL_MANIFEST = {
    "apiVersion": "workerpool.dev/v1alpha1",
    "kind": "WorkerPool",
    "metadata": {"name": POOL, "namespace": TENANT},
    "spec": {
        "redis": {"address": f"redis.{SYSTEM}"},
        "scaling": {"maxReplicas": 5, "jobsPerReplica": 1, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 1}}},
        "template": {"spec": {"containers": [{"name": "worker", "env": [{"name": "WORKERPOOL_SLEEP_SECONDS", "value": "1"}]}]}},
    },
}


class LifeOfARelease(unittest.TestCase):
    maxDiff = None
    done_job: str

    @classmethod
    def setUpClass(cls):
        kubectl.require_cluster()
        remove_plain_operator()
        remove_leftovers()
        for namespace in (SYSTEM, TENANT):
            kubectl.succeed("create", "namespace", namespace)
            kubectl.succeed("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")

    @classmethod
    def tearDownClass(cls):
        # The definitions stay: pools of other tests may be there.
        remove_leftovers()

    def test_1_the_definitions_are_installed_over_those_of_kubectl_apply(self):
        kubectl.succeed("apply", "--filename", str(helm.ROOT / "crds" / "yaml"))
        forget_release(CRD)
        self.assertIn("cannot be imported", helm.run("install", "crds", helm.CRD_CHART, "-n", SYSTEM).stderr)
        install_crds("crds")
        # Not condition=Established: kubectl gives up on a CRD whose conditions are still null.
        established = '--for=jsonpath={.status.conditions[?(@.type=="Established")].status}=True'
        kubectl.succeed("wait", established, CRD, "--timeout=30s")

    def test_2_operator_api_and_redis_become_ready(self):
        release("install", FIRST, helm.OPERATOR_CHART, *PARTS)
        self.assertEqual({"api": 1, "redis": 1, "workerpool-operator": 1}, ready_deployments())

    def test_3_a_pool_of_another_namespace_works_off_its_jobs(self):
        kubectl.succeed("apply", "--filename=-", stdin=yaml.safe_dump(POOL_MANIFEST))
        eventually("the pool's Deployment is there", lambda: pool_deployment())
        with kubectl.CountHistory(TENANT, POOL) as history:
            jobs = [submit() for _ in range(3)]
            for job in jobs:
                eventually(f"job {job} is complete", lambda: job_status(job) == "complete")
            eventually("the pool is back at zero", lambda: history.counts()[-1] == 0 and max(history.counts()) > 0)
        type(self).done_job = jobs[0]

    def test_4_an_upgrade_rolls_the_operator_and_nothing_else(self):
        set_minimum(2)
        eventually("two workers are ready", lambda: pool_deployment()["status"].get("readyReplicas") == 2)
        before = pods()
        with kubectl.CountHistory(TENANT, POOL) as history:
            release("upgrade", FIRST, helm.OPERATOR_CHART, "--reuse-values", "--set=operator.log.filter=debug")
            eventually("the new operator has decided", lambda: desired() == 2)
            set_minimum(3)
            eventually("and decides anew", lambda: history.counts()[-1] == 3)
            self.assertEqual([2, 3], history.counts())
        after = pods()
        gone = {before[uid] for uid in before.keys() - after.keys()}
        self.assertEqual({"workerpool-operator"}, gone)

    def test_5_a_mistake_in_an_upgrade_is_refused_and_changes_nothing(self):
        before = pods()
        refused = helm.run("upgrade", FIRST, helm.OPERATOR_CHART, "-n", SYSTEM, "--reuse-values", "--set=operator.logs.filter=info")
        self.assertIn("additional properties 'logs' not allowed", refused.stderr)
        self.assertEqual("deployed", json.loads(helm.succeed("status", FIRST, "-n", SYSTEM, "--output=json"))["info"]["status"])
        self.assertEqual(before, pods())

    def test_6_definitions_pools_workers_and_jobs_survive_an_uninstall(self):
        before = workers()
        release("uninstall", FIRST, "crds")
        self.assertEqual({}, ready_deployments())
        self.assertEqual([], kubectl.objects("clusterroles,clusterrolebindings", f"--selector=app.kubernetes.io/instance={FIRST}"))
        self.assertTrue(kubectl.objects(CRD))
        self.assertTrue(kubectl.objects("-n", TENANT, f"workerpool/{POOL}"))
        self.assertEqual(3, pool_deployment()["spec"]["replicas"])
        self.assertEqual(before, workers())
        self.assertTrue(kubectl.objects("-n", SYSTEM, "persistentvolumeclaim/redis"))

    def test_7_a_release_of_the_old_name_finds_its_own_again(self):
        release("install", "crds", helm.CRD_CHART)
        release("install", FIRST, helm.OPERATOR_CHART, *PARTS)
        self.assertEqual("complete", job_status(self.done_job))
        release("uninstall", FIRST, "crds")

    def test_8_a_release_of_another_name_takes_over_the_pool_and_the_jobs(self):
        before = workers()
        install_crds("crds-again")
        release("install", SECOND, helm.OPERATOR_CHART, *PARTS, "--set=redis.storage.existingClaim=redis")
        self.assertEqual({"api": 1, "redis": 1, "second-workerpool-operator": 1}, ready_deployments())
        self.assertEqual("complete", job_status(self.done_job))
        eventually("the new release's operator has decided", lambda: desired() == 3)
        set_minimum(4)
        eventually("and decides anew", lambda: pool_deployment()["spec"]["replicas"] == 4)
        self.assertLessEqual(before.keys(), workers().keys())
        job = submit()
        eventually("the workers of before do a new job", lambda: job_status(job) == "complete")


def remove_plain_operator() -> None:
    """That of earlier suites: two operators would decide against each other, and their roles have the same names."""
    kubectl.succeed("delete", "--recursive", "--filename", str(helm.ROOT / "deploy" / "operator"), "--ignore-not-found", "--timeout=90s")


def remove_leftovers() -> None:
    kubectl.succeed("delete", "namespace", TENANT, "--ignore-not-found", "--timeout=90s")
    release("uninstall", FIRST, SECOND, "crds", "crds-again", "--ignore-not-found")
    kubectl.succeed("delete", "namespace", SYSTEM, "--ignore-not-found", "--timeout=90s")


def forget_release(name: str) -> None:
    """As if no Helm had been here: what an earlier run kept still names its release."""
    kubectl.succeed("annotate", name, "meta.helm.sh/release-name-", "meta.helm.sh/release-namespace-")


def release(verb: str, *arguments: str | Path) -> None:
    done = helm.run(verb, *arguments, f"--namespace={SYSTEM}", "--wait", "--timeout=120s")
    if done.returncode != 0:
        raise AssertionError(f"helm {verb} {' '.join(map(str, arguments))}: {done.stderr}\n{diagnosis()}")


def install_crds(name: str) -> None:
    release("install", name, helm.CRD_CHART, "--take-ownership", "--force-conflicts")


def set_minimum(replicas: int) -> None:
    patch = json.dumps({"spec": {"scaling": {"minReplicas": replicas}}})
    kubectl.succeed("-n", TENANT, "patch", "workerpool", POOL, "--type=merge", "--patch", patch)


def pool_deployment() -> dict:
    return next(iter(kubectl.objects("-n", TENANT, f"deployment/{POOL}")), {})


def ready_deployments() -> dict[str, int]:
    return {found["metadata"]["name"]: found["status"].get("readyReplicas", 0) for found in kubectl.objects("-n", SYSTEM, "deployments")}


def desired() -> int:
    """What the one live operator says that it has decided for the pool; none before its first decision."""
    operators = kubectl.objects("-n", SYSTEM, "pods", "--selector=app.kubernetes.io/name=workerpool-operator")
    if len(operators) != 1:
        raise AssertionError(f"{len(operators)} operators, in the middle of a roll-out")
    [operator] = operators
    path = f"/api/v1/namespaces/{SYSTEM}/pods/{operator['metadata']['name']}:8080/proxy/metrics"
    for line in kubectl.succeed("get", "--raw", path).splitlines():
        if line.startswith("workerpool_operator_pool_desired_replicas{") and f'"{POOL}"' in line:
            return int(line.split()[-1])
    raise AssertionError("the operator has not decided yet")


def pods() -> dict[str, str]:
    """The UIDs of all live pods, and what they run."""
    found = kubectl.objects("-n", SYSTEM, "pods") + kubectl.objects("-n", TENANT, "pods")
    return {
        pod["metadata"]["uid"]: pod["metadata"]["labels"]["app.kubernetes.io/name"]
        for pod in found
        if "deletionTimestamp" not in pod["metadata"]
    }


def workers() -> dict[str, str]:
    return {pod["metadata"]["uid"]: pod["metadata"]["name"] for pod in kubectl.objects("-n", TENANT, "pods")}


def api(path: str) -> str:
    """Through the API server: it can be reached from wherever the tests run."""
    return f"/api/v1/namespaces/{SYSTEM}/services/api:http/proxy{path}"


def submit() -> str:
    return json.loads(kubectl.succeed("create", "--raw", api("/jobs"), "--filename=-", stdin='{"start": "go!", "end": "stop!"}'))["id"]


def job_status(job: str) -> str:
    return json.loads(kubectl.succeed("get", "--raw", api(f"/jobs/{job}")))["status"]


def eventually(what, look):
    return kubectl.eventually(what, SECONDS, look, diagnosis)


def diagnosis() -> str:
    looks = [
        ["get", "pods,deployments", "-n", SYSTEM],
        ["get", "pods,deployments,workerpools", "-n", TENANT, "-o", "wide"],
        ["get", f"workerpool/{POOL}", "-n", TENANT, "-o", "jsonpath={.status}"],
        ["get", "events", "-n", TENANT, "--sort-by=.lastTimestamp"],
        ["logs", "-n", SYSTEM, "--selector=app.kubernetes.io/name=workerpool-operator", "--tail=40"],
    ]
    return "\n".join(f"$ kubectl {' '.join(look)}\n{(done := kubectl.run(*look)).stdout}{done.stderr}" for look in looks)
