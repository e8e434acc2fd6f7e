package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Folders that Kubernetes and containerd write to, by their fixed names, and what lies there instead.
// Empty: a tmpfs, new with every start, as after a reboot of a node.
func (c Cluster) privateFolders() map[string]string {
	return map[string]string{
		"/run":     "", // sockets, container state, network namespaces, the lock of iptables
		"/tmp":     c.path("tmp"),
		"/var/lib": c.path("lib"), // kubelet, containerd, cni
		"/var/log": filepath.Join(c.Logs, "pods"),
	}
}

// Gives the cluster's mount namespace folders of its own, so that nothing of it is seen, or left, outside.
func (c Cluster) mountFolders() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts cannot be made private: %w", err)
	}
	// Kept open: the cache may itself lie below one of the folders that get covered.
	cache, err := os.Open(c.Cache)
	if err != nil {
		return err
	}
	defer cache.Close()
	for target, source := range c.privateFolders() {
		if err := cover(target, source); err != nil {
			return fmt.Errorf("%s cannot be made private: %w", target, err)
		}
		if !strings.HasPrefix(c.Cache, target+"/") {
			continue
		}
		if err := os.MkdirAll(c.Cache, 0o755); err != nil {
			return err
		}
		if err := bind(fmt.Sprintf("/proc/self/fd/%d", cache.Fd()), c.Cache); err != nil {
			return fmt.Errorf("%s cannot be kept in sight: %w", c.Cache, err)
		}
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("/proc cannot be mounted: %w", err)
	}
	// The kubelet and the runtime share the mounts that they make for pods.
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
}

func cover(target, source string) error {
	if source == "" {
		return unix.Mount("tmpfs", target, "tmpfs", 0, "mode=755")
	}
	if err := os.MkdirAll(source, 0o755); err != nil {
		return err
	}
	return bind(source, target)
}

func bind(source, target string) error {
	return unix.Mount(source, target, "", unix.MS_BIND, "")
}
