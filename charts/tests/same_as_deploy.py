"""What Helm installs with every part switched on is what deploy/ applies."""

import difflib
import tomllib
import unittest

import helm
import yaml

# What Helm knows and plain YAML does not: which release an object belongs to.
RELEASE_LABELS = {"app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"}
FOLDERS = ["db", "api", "operator"]


class SameAsDeploy(unittest.TestCase):
    maxDiff = None

    def test_both_make_the_same_objects(self):
        self.assertEqual(sorted(plain()), sorted(charted()))

    def test_each_object_is_the_same(self):
        ours = charted()
        for name, theirs in plain().items():
            with self.subTest(name):
                difference = difflib.unified_diff(
                    yaml.safe_dump(theirs).splitlines(), yaml.safe_dump(ours[name]).splitlines(), "deploy", "charts", lineterm=""
                )
                self.assertEqual("", "\n".join(difference))

    def test_the_operator_alone_is_the_default(self):
        default = helm.by_kind_and_name(helm.render())
        self.assertEqual(
            [
                "ClusterRole/workerpool-edit",
                "ClusterRole/workerpool-operator",
                "ClusterRole/workerpool-targets",
                "ClusterRole/workerpool-view",
                "ClusterRoleBinding/workerpool-operator",
                "ClusterRoleBinding/workerpool-targets",
                "Deployment/workerpool-operator",
                "Role/workerpool-operator",
                "RoleBinding/workerpool-operator",
                "ServiceAccount/workerpool-operator",
            ],
            sorted(default),
        )

    def test_services_select_pods_of_workerpool_and_no_others(self):
        # A pool's pods may be called as the API's and Redis' are, but part of workerpool they may not be.
        of_pool = {"workerpool.dev/pool": "thumbs", "app.kubernetes.io/instance": "workerpool"}
        for origin, objects in [("deploy", applied()), ("charts", helm.render(EVERYTHING))]:
            pods = {
                item["metadata"]["name"]: item["spec"]["template"]["metadata"]["labels"]
                for item in objects if item["kind"] == "Deployment"
            }
            services = [item for item in objects if item["kind"] == "Service"]
            self.assertEqual(["api", "redis"], sorted(service["metadata"]["name"] for service in services))
            for service in services:
                name, selector = service["metadata"]["name"], service["spec"]["selector"]
                with self.subTest(name, origin=origin):
                    self.assertEqual([name], [pod for pod, labels in pods.items() if selector.items() <= labels.items()])
                    lookalike = of_pool | {"app.kubernetes.io/name": selector["app.kubernetes.io/name"]}
                    self.assertFalse(selector.items() <= lookalike.items())

    def test_all_objects_lie_in_the_namespace_of_the_release(self):
        for item in helm.render(EVERYTHING):
            if not item["kind"].startswith("ClusterRole"):
                with self.subTest(f"{item['kind']} {item['metadata']['name']}"):
                    self.assertEqual("workerpool-system", item["metadata"].get("namespace"))

    def test_the_charts_have_the_version_of_the_programs(self):
        version = tomllib.loads((helm.ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
        for chart in [helm.OPERATOR_CHART, helm.CRD_CHART]:
            with self.subTest(chart.name):
                about = yaml.safe_load((chart / "Chart.yaml").read_text())
                self.assertEqual((version, version), (about["version"], about["appVersion"]))

    def test_helm_finds_no_fault(self):
        for chart in [helm.OPERATOR_CHART, helm.CRD_CHART]:
            with self.subTest(chart.name):
                helm.succeed("lint", "--strict", chart)


EVERYTHING = {"api": {"enabled": True}, "redis": {"enabled": True}}


def charted() -> dict[str, dict]:
    return normalised(helm.render(EVERYTHING))


def plain() -> dict[str, dict]:
    # The namespace of a release is the user's to make: helm install --create-namespace.
    return normalised([item for item in applied() if item["kind"] != "Namespace"])


def applied() -> list[dict]:
    objects = []
    for folder in FOLDERS:
        for path in sorted((helm.ROOT / "deploy" / folder).glob("*.yaml")):
            objects += yaml.safe_load_all(path.read_text())
    return objects


def normalised(objects: list[dict]) -> dict[str, dict]:
    for item in objects:
        without_release(item)
        item["metadata"].pop("namespace", None)
        # Meant for Helm alone.
        annotations = item["metadata"].pop("annotations", {})
        annotations.pop("helm.sh/resource-policy", None)
        if annotations:
            item["metadata"]["annotations"] = annotations
        if item["kind"] == "Service":
            item["spec"].setdefault("type", "ClusterIP")
    return helm.by_kind_and_name(objects)


def without_release(node: object) -> None:
    """Takes Helm's labels out of metadata and selectors, at every depth."""
    if isinstance(node, dict):
        for label in RELEASE_LABELS & node.keys():
            del node[label]
        for child in node.values():
            without_release(child)
    elif isinstance(node, list):
        for child in node:
            without_release(child)


