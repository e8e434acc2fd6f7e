package main

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestImageNamesAreCompletedAsTheNodeLooksForThem(t *testing.T) {
	for name, want := range map[string]string{
		"redis:7":                   "docker.io/library/redis:7",
		"someone/redis:7":           "docker.io/someone/redis:7",
		"localhost/pause:1":         "localhost/pause:1",
		"registry.example/a/b:1":    "registry.example/a/b:1",
		"registry:5000/workerpool":  "registry:5000/workerpool",
		"docker.io/library/redis:7": "docker.io/library/redis:7",
	} {
		if got := fullName(name); got != want {
			t.Errorf("%s became %s, not %s", name, got, want)
		}
	}
}

func TestOnlyShortPlainNamesAreAccepted(t *testing.T) {
	for name, valid := range map[string]bool{
		"demo": true, "a": true, "test2": true, "abcdefghijklmnop": true,
		"": false, "2test": false, "Demo": false, "a-b": false, "../x": false, "abcdefghijklmnopq": false,
	} {
		if validName.MatchString(name) != valid {
			t.Errorf("%q: valid should be %t", name, valid)
		}
	}
}

func TestAProcessIsRecognizedByItsStartTime(t *testing.T) {
	var record Record
	if err := record.identify(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	if !record.alive() {
		t.Error("this process is said to have ended")
	}
	another := record
	another.Started += "1"
	if another.alive() {
		t.Error("a later process of the same number is taken for the recorded one")
	}
	earlier := record
	earlier.Boot = "another boot"
	if earlier.alive() {
		t.Error("a process of this boot is taken for one of an earlier boot")
	}
}

func TestAnEndedProcessThatNobodyHasWaitedForIsNotAlive(t *testing.T) {
	process := exec.Command("true")
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	defer process.Wait()
	// WNOWAIT leaves it a zombie.
	if err := unix.Waitid(unix.P_PID, process.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := startTime(process.Process.Pid); err == nil {
		t.Error("a zombie has a start time")
	}
}

func TestARecordSurvivesWritingAndReading(t *testing.T) {
	cluster := Cluster{State: t.TempDir()}
	if record, err := cluster.record(); err != nil || record.PID != 0 {
		t.Fatalf("without a file: %+v, %v", record, err)
	}
	want := Record{Version: "1.37.2", PID: 7, Started: "8", Boot: "b", Network: 9, APIPort: 10}
	if err := cluster.writeRecord(want); err != nil {
		t.Fatal(err)
	}
	if got, err := cluster.record(); err != nil || got != want {
		t.Errorf("%+v came back as %+v, %v", want, got, err)
	}
}

func TestEveryManifestCanBeFilledIn(t *testing.T) {
	cluster := Cluster{Name: "demo", Version: "1.37.2", State: t.TempDir()}
	if err := cluster.writeManifests(); err != nil {
		t.Fatal(err)
	}
	files, err := manifestFiles.ReadDir("manifests")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(cluster.manifest(file.Name()))
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(string(text), "{{") || strings.Contains(string(text), "<no value>") {
			t.Errorf("%s is not filled in:\n%s", file.Name(), text)
		}
	}
}

func TestATailIsTheEndOfALongLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(strings.Repeat("before\n", 10_000)+"the reason\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(tail(path), "\n")
	if len(lines) != tailLines+1 || lines[tailLines] != "  the reason" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if text := tail(empty); !strings.Contains(text, empty) {
		t.Errorf("an empty log gives %q", text)
	}
}

func TestNamesOfNewVolumesAreReadFromTheKernelsEvents(t *testing.T) {
	event := func(name string, padded int) []byte {
		bytes := make([]byte, unix.SizeofInotifyEvent+padded)
		binary.NativeEndian.PutUint32(bytes[12:], uint32(padded))
		copy(bytes[unix.SizeofInotifyEvent:], name)
		return bytes
	}
	got := createdNames(append(event("one", 16), event("a-longer-name", 32)...))
	if !slices.Equal(got, []string{"one", "a-longer-name"}) {
		t.Errorf("read %q", got)
	}
}
