package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Record is what the host knows of a cluster that was started. A process id alone proves nothing after
// a crash or a reboot: the start time and the boot tell whether it is still the same process.
type Record struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
	Started string `json:"started"` // field 22 of /proc/PID/stat, in clock ticks since the boot
	Boot    string `json:"boot"`
	Network uint64 `json:"network"` // inode of the network namespace
	APIPort int    `json:"apiPort"` // on the host's loopback; kept over a restart
}

func (c Cluster) record() (Record, error) {
	var record Record
	text, err := os.ReadFile(c.path("cluster.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return record, nil
	}
	if err != nil {
		return record, err
	}
	if err := json.Unmarshal(text, &record); err != nil {
		return Record{}, fmt.Errorf("%s: %w", c.path("cluster.json"), err)
	}
	return record, nil
}

func (c Cluster) writeRecord(record Record) error {
	text, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	// Renamed into place: a crash leaves the old record or the new one.
	temporary := c.path("cluster.json.new")
	if err := os.WriteFile(temporary, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, c.path("cluster.json"))
}

// Fills in what identifies a running process.
func (r *Record) identify(pid int) error {
	started, err := startTime(pid)
	if err != nil {
		return err
	}
	network, err := networkNamespace(pid)
	if err != nil {
		return err
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	r.PID, r.Started, r.Network, r.Boot = pid, started, network, boot
	return nil
}

// Alive tells whether the recorded process still runs.
func (r Record) alive() bool {
	if !r.sameBoot() {
		return false
	}
	started, err := startTime(r.PID)
	return err == nil && started == r.Started
}

func (r Record) sameBoot() bool {
	boot, err := bootID()
	return r.PID != 0 && err == nil && boot == r.Boot
}

func bootID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text)), err
}

// The command name in /proc/PID/stat may hold anything, so fields are counted from its closing bracket.
func startTime(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	stat := string(text)
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const state, started = 0, 19
	if len(fields) <= started {
		return "", fmt.Errorf("/proc/%d/stat has only %d fields", pid, len(fields))
	}
	if fields[state] == "Z" {
		return "", fmt.Errorf("process %d has ended", pid)
	}
	return fields[started], nil
}

func networkNamespace(pid int) (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &stat); err != nil {
		return 0, err
	}
	return stat.Ino, nil
}

// Lock keeps two commands from starting or ending the same cluster at once. It is held until the
// file is closed, by whatever ends the process.
func (c Cluster) lock() (io.Closer, error) {
	if err := os.MkdirAll(c.path(".."), 0o755); err != nil {
		return nil, err
	}
	for {
		file, err := os.OpenFile(c.lockFile(), os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return nil, err
		}
		if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
			fmt.Fprintf(os.Stderr, "another command is busy with cluster %s; waiting for it\n", c.Name)
			if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
				return nil, err
			}
		}
		// The other command may have been a down, which removes the file.
		if held, err := file.Stat(); err != nil {
			return nil, err
		} else if current, err := os.Stat(c.lockFile()); err == nil && os.SameFile(held, current) {
			return file, nil
		}
		file.Close()
	}
}

func (c Cluster) lockFile() string { return c.State + ".lock" }
