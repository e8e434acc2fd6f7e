"""Every value of values.yaml has its effect, and what is not one is refused."""

import json
import unittest

import helm
import yaml

OPERATOR = "Deployment/workerpool-operator"
ACCOUNT = "ServiceAccount/workerpool-operator"
API = "Deployment/api"
REDIS = "Deployment/redis"
POD = "spec.template.spec"
CONTAINER = f"{POD}.containers.0"
TOLERATION = {"key": "batch", "operator": "Exists"}
AFFINITY = {"nodeAffinity": {}}
WORKER_RESOURCES = {"limits": {"cpu": "500m", "memory": "128Mi"}, "requests": {"cpu": "10m", "memory": "16Mi"}}
RESOURCES = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}
DIGEST = "sha256:" + "0" * 64

# Whole things of Kubernetes: one value each.
OF_KUBERNETES = {"resources", "workerResources", "affinity"}

# The value, what it is set to, and where that is found: object, path, what is there.
EFFECTS = [
    ("nameOverride", "jobs", "Deployment/workerpool-jobs-operator", "spec.replicas", 1),
    ("fullnameOverride", "jobs", "Deployment/jobs-operator", "spec.replicas", 1),
    ("image.repository", "registry.example/wp", OPERATOR, f"{CONTAINER}.image", "registry.example/wp:0.1.0"),
    ("image.repository", "registry.example/wp", OPERATOR, f"{CONTAINER}.env.0.value", "registry.example/wp:0.1.0"),
    ("image.tag", "1.2.3", API, f"{CONTAINER}.image", "workerpool:1.2.3"),
    ("image.digest", DIGEST, API, f"{CONTAINER}.image", f"workerpool:0.1.0@{DIGEST}"),
    ("image.pullPolicy", "Always", OPERATOR, f"{CONTAINER}.imagePullPolicy", "Always"),
    ("image.pullPolicy", "Always", API, f"{CONTAINER}.imagePullPolicy", "Always"),
    *[("imagePullSecrets", [{"name": "r"}], name, f"{POD}.imagePullSecrets", [{"name": "r"}]) for name in (OPERATOR, API, REDIS)],
    ("operator.replicas", 2, OPERATOR, "spec.replicas", 2),
    ("operator.workerImage", "worker:2", OPERATOR, f"{CONTAINER}.env.0.value", "worker:2"),
    *[
        (path, value, OPERATOR, f"{CONTAINER}.env.1", {"name": "WORKERPOOL_WORKER_RESOURCES", "value": json.dumps(setting, separators=(",", ":"))})
        for path, value, setting in [
            ("operator.replicas", 1, WORKER_RESOURCES),
            # Helm merges maps: what is not named stays.
            ("operator.workerResources", {"limits": {"cpu": 2}}, WORKER_RESOURCES | {"limits": {"cpu": 2, "memory": "128Mi"}}),
            ("operator.workerResources", {"limits": None}, {"requests": WORKER_RESOURCES["requests"]}),
            ("operator.workerResources", None, {}),
        ]
    ],
    ("serviceAccount.name", "wp", "ServiceAccount/wp", "metadata.namespace", "workerpool-system"),
    ("serviceAccount.name", "wp", OPERATOR, f"{POD}.serviceAccountName", "wp"),
    ("serviceAccount.name", "wp", "ClusterRoleBinding/workerpool-operator", "subjects.0.name", "wp"),
    ("serviceAccount.annotations", {"a": "b"}, ACCOUNT, "metadata.annotations", {"a": "b"}),
    ("api.replicas", 3, API, "spec.replicas", 3),
    ("api.redisAddress", "redis.data:6380", API, f"{CONTAINER}.env.0.value", "redis.data:6380"),
    ("api.credentialsSecret", "redis-auth", API, f"{CONTAINER}.env.5.valueFrom.secretKeyRef", {"name": "redis-auth", "key": "password"}),
    ("api.idempotencySeconds", 600, API, f"{CONTAINER}.env.1", {"name": "WORKERPOOL_IDEMPOTENCY_SECONDS", "value": "600"}),
    ("api.shutdownDelaySeconds", 0, API, f"{CONTAINER}.env.2", {"name": "WORKERPOOL_SHUTDOWN_DELAY_SECONDS", "value": "0"}),
    ("api.headTimeoutSeconds", 620, API, f"{CONTAINER}.env.3", {"name": "WORKERPOOL_HEAD_TIMEOUT_SECONDS", "value": "620"}),
    (
        "api.allowedOrigins", ["https://jobs.example", "http://localhost:3000"], API, f"{CONTAINER}.env.4",
        {"name": "WORKERPOOL_ALLOWED_ORIGINS", "value": "https://jobs.example,http://localhost:3000"},
    ),
    ("api.volumes", [{"name": "tls"}], API, f"{POD}.volumes", [{"name": "tls"}]),
    ("api.volumeMounts", [{"name": "tls", "mountPath": "/tls"}], API, f"{CONTAINER}.volumeMounts.0.mountPath", "/tls"),
    ("api.service.type", "NodePort", "Service/api", "spec.type", "NodePort"),
    ("api.service.ipFamilyPolicy", "SingleStack", "Service/api", "spec.ipFamilyPolicy", "SingleStack"),
    ("api.service.annotations", {"a": "b"}, "Service/api", "metadata.annotations", {"a": "b"}),
    ("redis.image", "valkey:8", REDIS, f"{CONTAINER}.image", "valkey:8"),
    ("redis.storage.size", "5Gi", "PersistentVolumeClaim/redis", "spec.resources.requests.storage", "5Gi"),
    ("redis.storage.className", "fast", "PersistentVolumeClaim/redis", "spec.storageClassName", "fast"),
    ("redis.storage.existingClaim", "old", REDIS, f"{POD}.volumes.0.persistentVolumeClaim.claimName", "old"),
]
# Each after the variables that the component always has.
for component, name, first in [("operator", OPERATOR, 2), ("api", API, 4)]:
    EFFECTS += [
        (f"{component}.log.filter", "debug", name, f"{CONTAINER}.env.{first}", {"name": "WORKERPOOL_LOG", "value": "debug"}),
        (f"{component}.log.format", "json", name, f"{CONTAINER}.env.{first}", {"name": "WORKERPOOL_LOG_FORMAT", "value": "json"}),
        (f"{component}.env", [{"name": "A", "value": "1"}], name, f"{CONTAINER}.env.{first}", {"name": "A", "value": "1"}),
    ]
for component, name in [("operator", OPERATOR), ("api", API), ("redis", REDIS)]:
    EFFECTS += [
        (f"{component}.resources", RESOURCES, name, f"{CONTAINER}.resources", RESOURCES),
        (f"{component}.podAnnotations", {"a": "b"}, name, "spec.template.metadata.annotations", {"a": "b"}),
        (f"{component}.podLabels", {"team": "b"}, name, "spec.template.metadata.labels.team", "b"),
        (f"{component}.nodeSelector", {"disk": "ssd"}, name, f"{POD}.nodeSelector", {"disk": "ssd"}),
        (f"{component}.tolerations", [TOLERATION], name, f"{POD}.tolerations", [TOLERATION]),
        (f"{component}.affinity", AFFINITY, name, f"{POD}.affinity", AFFINITY),
        (f"{component}.priorityClassName", "high", name, f"{POD}.priorityClassName", "high"),
    ]

# The value, and the objects that are gone when it is set so.
SWITCHES = [
    ("serviceAccount", {"create": False, "name": "mine"}, {ACCOUNT}),
    ("rbac.create", False, {
        "ClusterRole/workerpool-operator", "ClusterRoleBinding/workerpool-operator", "Role/workerpool-operator",
        "ClusterRole/workerpool-targets", "ClusterRoleBinding/workerpool-targets",
        "RoleBinding/workerpool-operator", "ClusterRole/workerpool-view", "ClusterRole/workerpool-edit",
    }),
    ("rbac.aggregate", False, {"ClusterRole/workerpool-view", "ClusterRole/workerpool-edit"}),
    ("api.enabled", False, {API, "Service/api"}),
    ("redis.enabled", False, {REDIS, "Service/redis", "PersistentVolumeClaim/redis"}),
    ("redis.storage.existingClaim", "old", {"PersistentVolumeClaim/redis"}),
]

# The value, what a user writes by mistake, and what the message must contain.
MISTAKES = [
    ("replicaCount", 2, "additional properties 'replicaCount' not allowed"),
    ("operator.resource", {}, "at '/operator': additional properties 'resource' not allowed"),
    ("operator.replicas", "two", "at '/operator/replicas': got string, want integer"),
    ("operator.replicas", -1, "at '/operator/replicas': minimum: got -1, want 0"),
    ("image.tag", 1.2, "at '/image/tag': got number, want string"),
    ("image.digest", "0000", "at '/image/digest': '0000' does not match pattern"),
    ("image.pullPolicy", "Sometimes", "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'"),
    ("imagePullSecrets", ["registry"], "at '/imagePullSecrets/0': got string, want object"),
    ("operator.env", {"A": "1"}, "at '/operator/env': got object, want array"),
    ("operator.env", [{"name": "A", "value": 1}], "at '/operator/env/0/value': got number, want string"),
    ("operator.log.level", "debug", "at '/operator/log': additional properties 'level' not allowed"),
    ("operator.log.format", "xml", "at '/operator/log/format': value must be one of '', 'text', 'json'"),
    ("operator.resources.limit", {}, "at '/operator/resources': additional properties 'limit' not allowed"),
    ("operator.resources.limits.memory", "256 MB", "at '/operator/resources/limits/memory': '256 MB' does not match pattern"),
    ("operator.workerResources", {"claims": []}, "at '/operator/workerResources': additional properties 'claims' not allowed"),
    ("operator.workerResources.limits.memory", "256 MB", "at '/operator/workerResources/limits/memory': '256 MB' does not match pattern"),
    ("operator.nodeSelector", {"gpu": True}, "at '/operator/nodeSelector/gpu': got boolean, want string"),
    ("rbac.create", "yes please", "at '/rbac/create': got string, want boolean"),
    ("serviceAccount.create", False, "serviceAccount.name is needed when serviceAccount.create is false"),
    ("fullnameOverride", "Not_A_Name", "at '/fullnameOverride': 'Not_A_Name' does not match pattern"),
    ("api.enable", True, "at '/api': additional properties 'enable' not allowed"),
    ("api.replicas", -1, "at '/api/replicas': minimum: got -1, want 0"),
    ("api.replicas", "two", "at '/api/replicas': got string, want integer"),
    ("api.redisAddress", "", "at '/api/redisAddress': minLength: got 0, want 1"),
    ("api.service.type", "ExternalName", "at '/api/service/type': value must be one of"),
    ("api.service.ipFamilyPolicy", "Dual", "at '/api/service/ipFamilyPolicy': value must be one of"),
    ("api.headTimeoutSeconds", 0, "at '/api/headTimeoutSeconds': minimum: got 0, want 1"),
    ("api.allowedOrigins", "https://jobs.example", "at '/api/allowedOrigins': got string, want array"),
    ("api.allowedOrigins", ["*"], "at '/api/allowedOrigins/0': '*' does not match pattern"),
    ("api.allowedOrigins", ["https://jobs.example/ui"], "at '/api/allowedOrigins/0': 'https://jobs.example/ui' does not match pattern"),
    ("api.podLabels", {"app.kubernetes.io/part-of": "shop"}, "at '/api/podLabels/app.kubernetes.io~1part-of': false schema"),
    ("redis.podLabels", {"app.kubernetes.io/name": "cache"}, "at '/redis/podLabels/app.kubernetes.io~1name': false schema"),
    ("redis.storage.size", "1 GB", "at '/redis/storage/size': '1 GB' does not match pattern"),
    ("redis.persistence", {}, "at '/redis': additional properties 'persistence' not allowed"),
]


class Values(unittest.TestCase):
    maxDiff = None

    def test_each_has_its_effect(self):
        for path, value, name, where, expected in EFFECTS:
            with self.subTest(path, found_in=f"{name} {where}"):
                objects = helm.by_kind_and_name(helm.render(everything_with(path, value)))
                self.assertIn(name, objects)
                self.assertEqual(expected, at(objects[name], where))

    def test_each_switch_takes_away_what_it_names(self):
        everything = set(helm.by_kind_and_name(helm.render(everything_with("api.enabled", True))))
        for path, value, gone in SWITCHES:
            with self.subTest(path):
                left = set(helm.by_kind_and_name(helm.render(everything_with(path, value))))
                self.assertEqual(gone, everything - left)

    def test_mistakes_are_refused_with_a_sentence(self):
        for path, value, sentence in MISTAKES:
            with self.subTest(path, value=value):
                self.assertIn(sentence, helm.refusal(with_value({}, path, value)))

    def test_none_is_left_out_of_the_tests_above(self):
        tested = {path for path, *_ in EFFECTS} | {path for path, *_ in SWITCHES} | {"serviceAccount.create"}
        self.assertEqual([], [path for path in leaves(defaults()) if path not in tested and parent(path) not in tested])

    def test_the_schema_names_the_same(self):
        schema = json.loads((helm.OPERATOR_CHART / "values.schema.json").read_text())
        self.assertEqual(sorted([*leaves(defaults()), "global"]), sorted(schema_leaves(schema, schema["$defs"])))

    def test_another_release_has_other_names(self):
        one, two = ({name for name in helm.by_kind_and_name(helm.render(release=release))} for release in ("workerpool", "second"))
        self.assertEqual(set(), one & two)

    def test_the_longest_release_name_makes_names_that_kubernetes_takes(self):
        for item in helm.render(release="a" * 53):
            self.assertLessEqual(len(item["metadata"]["name"]), 63)


def defaults() -> dict:
    return yaml.safe_load((helm.OPERATOR_CHART / "values.yaml").read_text())


def everything_with(path: str, value: object) -> dict:
    """All parts switched on, unless the value itself says otherwise."""
    return with_value({"api": {"enabled": True}, "redis": {"enabled": True}}, path, value)


def with_value(values: dict, path: str, value: object) -> dict:
    *parents, last = path.split(".")
    node = values
    for key in parents:
        node = node.setdefault(key, {})
    node[last] = value
    return values


def at(node: object, path: str) -> object:
    for key in path.split("."):
        node = node[int(key)] if isinstance(node, list) else node[key]
    return node


def parent(path: str) -> str:
    return path.rpartition(".")[0]


def leaves(values: dict, prefix: str = "") -> list[str]:
    found = []
    for key, value in values.items():
        inner = isinstance(value, dict) and value and key not in OF_KUBERNETES
        found += leaves(value, f"{prefix}{key}.") if inner else [f"{prefix}{key}"]
    return found


def schema_leaves(node: dict, definitions: dict, prefix: str = "") -> list[str]:
    found = []
    for key, child in node["properties"].items():
        kind = child.get("$ref", "").rpartition("/")[2]
        child = definitions.get(kind, child)
        inner = "properties" in child and kind not in OF_KUBERNETES
        found += schema_leaves(child, definitions, f"{prefix}{key}.") if inner else [f"{prefix}{key}"]
    return found
