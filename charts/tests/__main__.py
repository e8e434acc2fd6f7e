"""Runs the tests of this folder; charts/test calls it. The last line is `N passed, N failed`."""

import argparse
import sys
import unittest

WITHOUT_CLUSTER = ["same_as_deploy", "values", "crds", "upgrade"]
WITH_CLUSTER = ["cluster"]


class Counted(unittest.TextTestResult):
    """A subtest counts as a test, and a test with subtests does not."""

    passed = 0
    parents: set[str] = set()

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        self.parents.add(test.id())
        self.passed += err is None

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += test.id() not in self.parents


def main() -> int:
    parser = argparse.ArgumentParser(prog="charts/test")
    parser.add_argument("--cluster", action="store_true", help="the tests on a cluster instead of those without")
    modules = WITH_CLUSTER if parser.parse_args().cluster else WITHOUT_CLUSTER
    suite = unittest.defaultTestLoader.loadTestsFromNames(modules)
    result = unittest.TextTestRunner(verbosity=2, resultclass=Counted, stream=sys.stdout, failfast=modules is WITH_CLUSTER).run(suite)
    failed = len(result.failures) + len(result.errors)
    print(f"{result.passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
