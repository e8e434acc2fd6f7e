"""`helm upgrade` of a release that an earlier version installed: nothing is refused, and no Service loses its pods while it runs."""

import unittest
from pathlib import Path

import helm
import yaml

FIXTURES = helm.ROOT / "e2e" / "fixtures"
VERSIONS = sorted(FIXTURES.glob("*/chart"))
VALUES = {"default": {}, "full": yaml.safe_load((FIXTURES / "applied" / "chart-values.yaml").read_text())}
# Fields that the API server refuses to change.
IMMUTABLE = {
    "Deployment": [["spec", "selector"]],
    "ClusterRoleBinding": [["roleRef"]],
    "RoleBinding": [["roleRef"]],
    "PersistentVolumeClaim": [["spec", "accessModes"], ["spec", "storageClassName"], ["spec", "resources", "requests", "storage"]],
}


class Upgrade(unittest.TestCase):
    def test_earlier_version_is_there(self):
        self.assertNotEqual([], VERSIONS)

    def test_objects_of_earlier_versions_keep_their_names(self):
        for about, old, new in upgrades():
            with self.subTest(about):
                self.assertLessEqual(set(old), set(new))

    def test_immutable_fields_of_earlier_versions_stay(self):
        for about, old, new in upgrades():
            for name in set(old) & set(new):
                for path in IMMUTABLE.get(name.split("/")[0], []):
                    with self.subTest(f"{about}: {name} {'.'.join(path)}"):
                        self.assertEqual(at(old[name], path), at(new[name], path))

    def test_services_select_pods_of_both_versions(self):
        for about, old, new in upgrades():
            for name in (name for name in old if name.startswith("Service/")):
                for service, pods in [(old, old), (new, old), (old, new), (new, new)]:
                    with self.subTest(f"{about}: {name}"):
                        selector = at(service[name], ["spec", "selector"])
                        self.assertEqual(1, sum(selector.items() <= labels.items() for labels in labels_of_pods(pods)))

    def test_deployments_select_their_own_pods(self):
        for about, _, new in upgrades():
            for name in (name for name in new if name.startswith("Deployment/")):
                with self.subTest(f"{about}: {name}"):
                    selector = at(new[name], ["spec", "selector", "matchLabels"])
                    labels = at(new[name], ["spec", "template", "metadata", "labels"])
                    self.assertLessEqual(selector.items(), labels.items())


def upgrades():
    """Each earlier version with each of its values: what it was, the objects then, the objects now."""
    for version in VERSIONS:
        for name, values in VALUES.items():
            old = documents(version / f"{name}.yaml")
            yield f"{version.parent.name} {name}", helm.by_kind_and_name(old), helm.by_kind_and_name(helm.render(values))


def documents(path: Path) -> list[dict]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def labels_of_pods(objects: dict[str, dict]) -> list[dict]:
    return [at(item, ["spec", "template", "metadata", "labels"]) for item in objects.values() if item["kind"] == "Deployment"]


def at(item: dict, path: list[str]):
    for key in path:
        item = item.get(key, {})
    return item
