"""kubectl on the cluster that KUBECONFIG names, and how to wait for what it shows."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable

CALL_TIMEOUT_SECONDS = 120
PAUSE_SECONDS = 0.2


def require_cluster() -> None:
    """A user's own cluster (~/.kube/config) is never a place for tests: it has to be named."""
    if "KUBECONFIG" not in os.environ:
        raise AssertionError("these tests need a cluster: dev/cluster --name test exec -- charts/test --cluster")


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess:
    return subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True, timeout=CALL_TIMEOUT_SECONDS)


def succeed(*arguments: str, stdin: str = "") -> str:
    done = run(*arguments, stdin=stdin)
    if done.returncode != 0:
        raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def objects(*arguments: str) -> list[dict]:
    """What `kubectl get` shows, as objects; empty where there is none, or where the kind is unknown."""
    done = run("get", "--ignore-not-found", "--output=json", *arguments)
    if done.returncode != 0 and "doesn't have a resource type" not in done.stderr:
        raise AssertionError(f"kubectl get {' '.join(arguments)}: {done.stderr}")
    if not done.stdout.strip():
        return []
    found = json.loads(done.stdout)
    return found["items"] if found["kind"] == "List" else [found]


def eventually(what: str, seconds: float, look: Callable[[], object], diagnosis: Callable[[], str]) -> object:
    """The first true answer of `look`. An AssertionError in it is an answer too: not yet."""
    end = time.monotonic() + seconds
    while True:
        try:
            seen = look()
        except AssertionError as error:
            seen, last = None, str(error)
        else:
            last = repr(seen)
        if seen:
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}; last seen: {last}\n{diagnosis()}")
        time.sleep(PAUSE_SECONDS)


class CountHistory:
    """Every replica count that a Deployment is given from now on, the present one first; repeats are one."""

    def __init__(self, namespace: str, deployment: str) -> None:
        self.lines = tempfile.TemporaryFile("w+")
        self.watch = subprocess.Popen(
            ["kubectl", "-n", namespace, "get", "deployment", deployment, "--watch", r'--output=jsonpath={.spec.replicas}{"\n"}'],
            stdout=self.lines,
        )

    def __enter__(self) -> "CountHistory":
        return self

    def __exit__(self, *_: object) -> None:
        self.watch.terminate()
        self.watch.wait(CALL_TIMEOUT_SECONDS)
        self.lines.close()

    def counts(self) -> list[int]:
        if self.watch.poll() is not None:
            raise AssertionError("the watch has ended")
        self.lines.seek(0)
        counts = [int(line) for line in self.lines]
        return [count for place, count in enumerate(counts) if place == 0 or counts[place - 1] != count]
