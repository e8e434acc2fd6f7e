"""The chart of the CustomResourceDefinitions carries what the crds crate generates, and keeps it."""

import unittest

import helm
import yaml

GENERATED = helm.ROOT / "crds" / "yaml"


class Crds(unittest.TestCase):
    def test_each_is_the_generated_one(self):
        charted = helm.by_kind_and_name(helm.render(chart=helm.CRD_CHART))
        generated = helm.by_kind_and_name([yaml.safe_load(path.read_text()) for path in GENERATED.glob("*.yaml")])
        self.assertTrue(generated)
        self.assertEqual(generated.keys(), charted.keys())
        for name, crd in generated.items():
            with self.subTest(name):
                charted[name]["metadata"] = {"name": charted[name]["metadata"]["name"]}
                crd["metadata"] = {"name": crd["metadata"]["name"]}
                self.assertEqual(crd, charted[name])

    def test_each_stays_after_an_uninstall(self):
        for crd in helm.render(chart=helm.CRD_CHART):
            with self.subTest(crd["metadata"]["name"]):
                self.assertEqual("keep", crd["metadata"]["annotations"]["helm.sh/resource-policy"])

    def test_values_are_refused(self):
        self.assertIn("additional properties 'keep' not allowed", helm.refusal({"keep": False}, chart=helm.CRD_CHART))
