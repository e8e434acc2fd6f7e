package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// The kubelet puts its pods below this cgroup, so that two clusters do not share one.
func (c Cluster) cgroup() string { return "workerpool-" + c.Name }

// Hierarchies of cgroups: one per controller with version 1, a single one with version 2.
func cgroupHierarchies() ([]string, error) {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []string{cgroupRoot}, nil
	}
	folders, err := filepath.Glob(cgroupRoot + "/*/cgroup.procs")
	if err != nil {
		return nil, err
	}
	for i, file := range folders {
		folders[i] = filepath.Dir(file)
	}
	if len(folders) == 0 {
		return nil, fmt.Errorf("no cgroups are mounted at %s", cgroupRoot)
	}
	return folders, nil
}

func makeCgroups(name string) error {
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	for _, hierarchy := range hierarchies {
		group := filepath.Join(hierarchy, name)
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := prepareCgroup(hierarchy, group); err != nil {
			return err
		}
	}
	return nil
}

// A new cpuset of version 1 is empty, and refuses processes, until it has been given CPUs; a new cgroup of version 2
// has the controllers that its parent hands down.
func prepareCgroup(hierarchy, group string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(hierarchy, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(group, file), value, 0); err != nil {
			return err
		}
	}
	controllers, err := os.ReadFile(filepath.Join(hierarchy, "cgroup.controllers"))
	if err != nil {
		return nil // version 1
	}
	for _, controller := range strings.Fields(string(controllers)) {
		for _, folder := range []string{hierarchy, group} {
			// Some cannot be handed down (rdma, say); the kubelet names the ones it misses.
			_ = os.WriteFile(filepath.Join(folder, "cgroup.subtree_control"), []byte("+"+controller), 0)
		}
	}
	return nil
}

// Removes the cgroup and those below it, leaves first, in every hierarchy. The processes have been killed;
// the kernel may need a moment to bury them.
func removeCgroups(name string) error {
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	for _, hierarchy := range hierarchies {
		if err := removeCgroup(filepath.Join(hierarchy, name)); err != nil {
			return err
		}
	}
	return nil
}

func removeCgroup(root string) error {
	var groups []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			groups = append(groups, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.Reverse(groups)
	deadline := time.Now().Add(killTimeout)
	for _, group := range groups {
		for {
			err := unix.Rmdir(group)
			if err == nil || errors.Is(err, unix.ENOENT) {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("cgroup %s cannot be removed: %w", group, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}
