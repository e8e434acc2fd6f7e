//go:build cluster

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	commandTimeout = 3 * time.Minute
	conditionLimit = time.Minute
	startGoal      = 20 * time.Second

	testName  = "selftest"
	otherName = "neighbour"
	redisPort = "16390"
)

// The tests of the whole command run in their order, as a day in a cluster's life.
func TestWhole(t *testing.T) {
	c := under(t, testName)
	c.must("down")
	other := under(t, otherName)
	other.must("down")
	t.Cleanup(func() {
		c.run("down")
		other.run("down")
	})
	before := hostTraces(t)
	ok := t.Run("UpMakesAReadyNodeInUnder20Seconds", func(t *testing.T) {
		c := under(t, testName)
		begin := time.Now()
		c.must("up")
		if took := time.Since(begin); took > startGoal {
			t.Errorf("it took %s", took)
		}
		if nodes := c.host("kubectl", "get", "nodes", "--no-headers"); !strings.Contains(nodes, " Ready ") {
			t.Errorf("seen from the host's shell: %s", nodes)
		}
	})
	if !ok {
		t.FailNow()
	}
	t.Run("UpAgainIsHarmless", func(t *testing.T) {
		c := under(t, testName)
		pid := c.record().PID
		c.must("up")
		if c.record().PID != pid {
			t.Error("it was started a second time")
		}
	})
	t.Run("APodThatIsNotRootWritesToItsVolumeAndIsFoundByName", func(t *testing.T) {
		c := under(t, testName)
		c.must("load", os.Getenv("WORKERPOOL_TEST_IMAGE"))
		c.apply(redisManifest)
		c.must("exec", "--", "kubectl", "rollout", "status", "deployment/redis", "--timeout=60s")
		// The Pod asks the cluster's DNS for the Service, short name and long.
		for _, name := range []string{"redis", "redis.default.svc.cluster.local"} {
			c.eventually("PONG", "exec", "--", "kubectl", "exec", "deployment/redis", "--", "redis-cli", "-h", name, "ping")
		}
		c.eventually("OK", "exec", "--", "redis-cli", "-h", "redis.default", "set", "kept", "yes")
	})
	t.Run("ExecPassesTheExitCodeOn", func(t *testing.T) {
		err := under(t, testName).try("exec", "--", "sh", "-c", "exit 7")
		if code := err.(*exec.ExitError).ExitCode(); code != 7 {
			t.Errorf("exit code %d", code)
		}
	})
	t.Run("AForwardReachesAServiceFromTheHost", func(t *testing.T) {
		c := under(t, testName)
		c.must("forward", redisPort, "redis.default:6379")
		c.must("forward", redisPort, "redis.default:6379")
		if got := c.host("redis-cli", "-p", redisPort, "get", "kept"); got != "yes" {
			t.Errorf("got %q", got)
		}
		c.fails("already reaches", "forward", redisPort, "another.default:1")
	})
	t.Run("AnotherClusterComesAndGoesUnnoticed", func(t *testing.T) {
		other := under(t, otherName)
		other.must("up")
		if nodes := other.host("kubectl", "get", "nodes", "--no-headers"); !strings.HasPrefix(nodes, otherName+" ") {
			t.Errorf("its nodes: %s", nodes)
		}
		other.must("down")
		c := under(t, testName)
		c.eventually("yes", "exec", "--", "kubectl", "exec", "deployment/redis", "--", "redis-cli", "get", "kept")
	})
	t.Run("AKilledClusterIsSaidToHaveCrashedAndStartsAgainWithWhatItHeld", func(t *testing.T) {
		c := under(t, testName)
		if err := syscall.Kill(c.record().PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		c.waitUntil("it is seen to have crashed", func() bool {
			output, err := c.run("status")
			return err != nil && strings.Contains(output, "has crashed")
		})
		c.must("up")
		c.must("exec", "--", "kubectl", "rollout", "status", "deployment/redis", "--timeout=60s")
		c.eventually("yes", "exec", "--", "kubectl", "exec", "deployment/redis", "--", "redis-cli", "get", "kept")
	})
	t.Run("AProgramThatDiesIsStartedAgain", func(t *testing.T) {
		c := under(t, testName)
		for pid, command := range markedProcesses(Cluster{Name: testName}.mark()) {
			if !strings.HasPrefix(command, "coredns\x00") {
				continue
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		c.eventually("restarted 1 times", "status")
		c.eventually("10.96.0.1", "exec", "--", "getent", "hosts", "kubernetes.default.svc.cluster.local")
	})
	t.Run("DownEndsACommandThatStillRunsInside", func(t *testing.T) {
		c := under(t, testName)
		sleeper := exec.Command(c.command, "--name", testName, "exec", "--", "sleep", "1000")
		if err := sleeper.Start(); err != nil {
			t.Fatal(err)
		}
		network := c.record().Network
		c.waitUntil("it runs inside", func() bool {
			inside, err := networkNamespace(sleeper.Process.Pid)
			return err == nil && inside == network
		})
		c.must("down")
		if err := sleeper.Wait(); err == nil {
			t.Error("it ended by itself")
		}
	})
	t.Run("DownLeavesNothing", func(t *testing.T) {
		c := under(t, testName)
		if after := hostTraces(t); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		if _, err := os.Stat(c.folder("")); err == nil {
			t.Errorf("%s is still there", c.folder(""))
		}
		c.must("down")
		c.fails("is not up", "status")
		c.fails("is not up", "kubeconfig")
	})
	t.Run("AStartThatFailsShowsTheLogAndLeavesNoProcess", func(t *testing.T) {
		c := under(t, testName)
		// A file where etcd wants a folder.
		if err := os.MkdirAll(c.folder(""), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(c.folder("etcd"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		c.fails("etcd has ended", "up")
		c.must("down")
		if after := hostTraces(t); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
	t.Run("AVersionThatIsNotPinnedIsRefused", func(t *testing.T) {
		t.Setenv("K8S_VERSION", "1.0.0")
		under(t, testName).fails("Kubernetes 1.0.0 is not pinned", "up")
	})
}

const redisManifest = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: redis}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Service
metadata: {name: redis}
spec: {selector: {app: redis}, ports: [{port: 6379}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: redis}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: redis}}
  template:
    metadata: {labels: {app: redis}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 999, runAsGroup: 999}
      containers:
      - name: redis
        image: redis:7
        args: [--appendonly yes, --appendfsync always]
        readinessProbe: {exec: {command: [redis-cli, ping]}, periodSeconds: 1}
        resources: {limits: {memory: 64Mi}}
        volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: redis}}]
`

// What a cluster might leave on the host: interfaces, iptables rules, mounts, cgroups, processes and network namespaces of
// the clusters under test.
func hostTraces(t *testing.T) string {
	t.Helper()
	var traces strings.Builder
	for _, command := range []string{"ip -o link", "iptables-save", "ls /run/netns /var/run/netns"} {
		fields := strings.Fields(command)
		output, _ := exec.Command(fields[0], fields[1:]...).Output()
		for line := range strings.Lines(string(output)) {
			// Comments and counters of iptables-save, and the state of a host's interface, change by themselves.
			line, _, _ = strings.Cut(line, " state ")
			if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ":") {
				fmt.Fprintln(&traces, strings.TrimSpace(line))
			}
		}
	}
	for _, name := range []string{testName, otherName} {
		cluster := Cluster{Name: name}
		groups, _ := filepath.Glob(cgroupRoot + "/*/" + cluster.cgroup())
		single, _ := filepath.Glob(cgroupRoot + "/" + cluster.cgroup())
		fmt.Fprintln(&traces, name, "cgroups", append(groups, single...))
		fmt.Fprintln(&traces, name, "processes", markedProcesses(cluster.mark()))
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&traces, name, "mounts", strings.Count(string(mounts), "/clusters/"+name))
	}
	return traces.String()
}

// Command lines of the processes that bear a cluster's mark, by process id.
func markedProcesses(mark string) map[int]string {
	found := map[int]string{}
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err == nil && marked(pid, mark) {
			command, _ := os.ReadFile(folder + "/cmdline")
			found[pid] = string(command)
		}
	}
	return found
}

// Subject is a cluster as a person at a shell sees it.
type subject struct {
	t       *testing.T
	name    string
	command string
}

func under(t *testing.T, name string) subject {
	t.Helper()
	command := os.Getenv("WORKERPOOL_TEST_COMMAND")
	if command == "" {
		t.Fatal("dev/check-cluster runs these tests")
	}
	return subject{t, name, command}
}

func (s subject) run(arguments ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	output, err := exec.CommandContext(ctx, s.command, append([]string{"--name", s.name}, arguments...)...).CombinedOutput()
	return strings.TrimSpace(string(output)), err
}

func (s subject) try(arguments ...string) error {
	_, err := s.run(arguments...)
	return err
}

func (s subject) must(arguments ...string) string {
	s.t.Helper()
	output, err := s.run(arguments...)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
	return output
}

func (s subject) fails(message string, arguments ...string) {
	s.t.Helper()
	output, err := s.run(arguments...)
	if err == nil || !strings.Contains(output, message) {
		s.t.Errorf("%s should fail with %q, but: %v\n%s", strings.Join(arguments, " "), message, err, output)
	}
}

// A command on the host, with the kubeconfig for the host.
func (s subject) host(name string, arguments ...string) string {
	s.t.Helper()
	command := exec.Command(name, arguments...)
	if name == "kubectl" {
		// The host may have none, or an old one.
		command = exec.Command(filepath.Join(filepath.Dir(s.command), "kubectl"), arguments...)
	}
	command.Env = append(os.Environ(), "KUBECONFIG="+s.must("kubeconfig"))
	output, err := command.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", name, err, output)
	}
	return strings.TrimSpace(string(output))
}

func (s subject) apply(manifest string) {
	s.t.Helper()
	command := exec.Command(s.command, "--name", s.name, "exec", "--", "kubectl", "apply", "-f", "-")
	command.Stdin = strings.NewReader(manifest)
	if output, err := command.CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, output)
	}
}

func (s subject) eventually(want string, arguments ...string) {
	s.t.Helper()
	var last string
	s.waitUntil(fmt.Sprintf("%s says %q", strings.Join(arguments, " "), want), func() bool {
		last, _ = s.run(arguments...)
		return strings.Contains(last, want)
	}, func() string { return last })
}

func (s subject) waitUntil(what string, condition func() bool, seen ...func() string) {
	s.t.Helper()
	for deadline := time.Now().Add(conditionLimit); !condition(); time.Sleep(pollInterval) {
		if time.Now().After(deadline) {
			for _, last := range seen {
				s.t.Logf("last seen: %s", last())
			}
			s.t.Fatalf("not within %s: %s", conditionLimit, what)
		}
	}
}

// Folder or file of the cluster's state, which is where its kubeconfig is.
func (s subject) folder(file string) string {
	cache := os.Getenv("WORKERPOOL_CACHE")
	if cache == "" {
		home, err := os.UserCacheDir()
		if err != nil {
			s.t.Fatal(err)
		}
		cache = filepath.Join(home, "workerpool")
	}
	return filepath.Join(cache, "clusters", s.name, file)
}

func (s subject) record() Record {
	s.t.Helper()
	text, err := os.ReadFile(s.folder("cluster.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	var record Record
	if err := json.Unmarshal(text, &record); err != nil {
		s.t.Fatal(err)
	}
	return record
}
