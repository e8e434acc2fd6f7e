package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// Runs a command in the cluster's network, with the cluster's DNS. Its files are the host's, as with `ip netns exec`.
func execute(c Cluster, command []string) error {
	record, err := c.record()
	if err != nil {
		return err
	}
	if !record.alive() {
		return c.notUp()
	}
	// Namespaces belong to a thread; the one that calls exec gives its own to the new program.
	runtime.LockOSThread()
	if err := enterNetwork(record.PID); err != nil {
		return fmt.Errorf("the network of cluster %s cannot be entered: %w", c.Name, err)
	}
	if err := useResolver(c.manifest("resolv.conf")); err != nil {
		return fmt.Errorf("the DNS of cluster %s cannot be used: %w", c.Name, err)
	}
	if err := os.Setenv("KUBECONFIG", c.adminKubeconfig()); err != nil {
		return err
	}
	program, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	return unix.Exec(program, command, os.Environ())
}

func enterNetwork(pid int) error {
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer namespace.Close()
	return unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET)
}

// In a mount namespace of its own, so that the host keeps its resolv.conf.
func useResolver(resolvConf string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return err
	}
	// It is often a symbolic link, and a mount goes where it points.
	target, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		return err
	}
	return bind(resolvConf, target)
}
