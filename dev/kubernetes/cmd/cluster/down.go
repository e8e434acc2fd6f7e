package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const killTimeout = 20 * time.Second

func down(c Cluster, _ []string) error {
	lock, err := c.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	record, err := c.record()
	if err != nil {
		return err
	}
	if err := c.clearRemains(record); err != nil {
		return err
	}
	if err := c.unmountState(); err != nil {
		return err
	}
	if err := os.RemoveAll(c.State); err != nil {
		return err
	}
	if err := os.Remove(c.lockFile()); err != nil {
		return err
	}
	if record.PID == 0 {
		fmt.Printf("cluster %s is not up\n", c.Name)
		return nil
	}
	fmt.Printf("cluster %s is down\n", c.Name)
	return nil
}

// Ends what is left of a cluster, running or crashed. With its process 1 the kernel ends every process of
// the process namespace; with the last process go the mounts, the interfaces and the iptables rules.
func (c Cluster) clearRemains(record Record) error {
	if record.sameBoot() {
		if err := c.endProcesses(record); err != nil {
			return err
		}
	}
	return removeCgroups(c.cgroup())
}

// Besides process 1, what was started by dev/cluster exec still holds the network. After a crash the kernel
// may have given the network's number to another cluster: then only the mark in the environment tells.
func (c Cluster) endProcesses(record Record) error {
	host, err := networkNamespace(os.Getpid())
	if err != nil {
		return err
	}
	if record.Network == host {
		return errors.New("run it from the host's shell, not inside the cluster")
	}
	running := record.alive()
	deadline := time.Now().Add(killTimeout)
	for {
		pids := processesIn(record.Network, func(pid int) bool { return running || marked(pid, c.mark()) })
		if record.alive() {
			pids = append(pids, record.PID)
		}
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v of cluster %s do not end", pids, c.Name)
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // It may have ended meanwhile; the next round sees.
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func processesIn(network uint64, ours func(pid int) bool) []int {
	var pids []int
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}
		if namespace, err := networkNamespace(pid); err == nil && namespace == network && ours(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func marked(pid int, mark string) bool {
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && slices.Contains(strings.Split(string(environment), "\x00"), mark)
}

// Nothing of the cluster is mounted on the host's side; but a folder is only removed when that is sure,
// because removing through a mount would empty what is mounted.
func (c Cluster) unmountState() error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	const mountPoint = 4
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) <= mountPoint || !strings.HasPrefix(fields[mountPoint], c.State+"/") {
			continue
		}
		if err := unix.Unmount(fields[mountPoint], unix.MNT_DETACH); err != nil {
			return fmt.Errorf("%s cannot be unmounted: %w", fields[mountPoint], err)
		}
	}
	return nil
}
