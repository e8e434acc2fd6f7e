package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Starting takes 10 to 20 s on two cores; a machine that is busy compiling may need a few times that.
const startTimeout = 3 * time.Minute

func up(c Cluster, _ []string) error {
	begin := time.Now()
	if os.Geteuid() != 0 {
		return errors.New("it makes namespaces and cgroups, and so must be started as root")
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	record, err := c.record()
	if err != nil {
		return err
	}
	if record.Version != "" && record.Version != c.Version {
		return fmt.Errorf("cluster %s holds the state of Kubernetes %s, not %s: end it first (dev/cluster --name %s down)",
			c.Name, record.Version, c.Version, c.Name)
	}
	answers, err := c.answers(record)
	if err != nil {
		return err
	}
	if answers {
		fmt.Printf("cluster %s is up already (Kubernetes %s)\n", c.Name, c.Version)
		return nil
	}
	if record.PID != 0 {
		fmt.Printf("cluster %s was not ended properly; starting it again with what it held\n", c.Name)
		if err := c.clearRemains(record); err != nil {
			return err
		}
	}
	if err := c.start(record); err != nil {
		return err
	}
	fmt.Printf("cluster %s is up: Kubernetes %s, %.1f s\n", c.Name, c.Version, time.Since(begin).Seconds())
	return nil
}

// Tells whether a cluster is up. One that was killed a moment ago is given the time to die.
func (c Cluster) answers(record Record) (bool, error) {
	deadline := time.Now().Add(askTimeout)
	for record.alive() {
		_, err := c.ask(request{Verb: verbStatus})
		if err == nil {
			return true, nil
		}
		if time.Now().After(deadline) {
			return false, fmt.Errorf("cluster %s runs but does not answer (%w): dev/cluster --name %s down, then up again", c.Name, err, c.Name)
		}
		time.Sleep(pollInterval)
	}
	return false, nil
}

// Starts process 1 in new namespaces and follows what it reports until the cluster is ready.
func (c Cluster) start(record Record) error {
	if err := os.RemoveAll(c.Logs); err != nil {
		return err
	}
	for _, folder := range []string{c.State, c.Logs} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	listener, err := listenOnLoopback(record.APIPort)
	if err != nil {
		return err
	}
	defer listener.Close()
	record.APIPort = listener.Addr().(*net.TCPAddr).Port
	record.Version = c.Version

	apiListener, err := listener.File()
	if err != nil {
		return err
	}
	defer apiListener.Close()
	reports, reporter, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reports.Close()
	log, err := os.Create(c.log("supervisor"))
	if err != nil {
		return err
	}
	defer log.Close()

	self, err := os.Executable()
	if err != nil {
		return err
	}
	process := exec.Command(self, initCommand, c.Name, strconv.Itoa(record.APIPort))
	process.Dir = "/"
	process.Stdout, process.Stderr = log, log
	process.ExtraFiles = []*os.File{reporter, apiListener}
	process.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Setsid:     true,
	}
	if err := process.Start(); err != nil {
		return fmt.Errorf("namespaces cannot be made: %w", err)
	}
	reporter.Close()
	if err := record.identify(process.Process.Pid); err != nil {
		return errors.Join(err, process.Process.Kill())
	}
	if err := c.writeRecord(record); err != nil {
		return errors.Join(err, process.Process.Kill())
	}
	if err := c.follow(reports); err != nil {
		return errors.Join(err, process.Process.Kill())
	}
	return nil
}

// Reports are lines: steps, and at last "ready" or "error: …".
func (c Cluster) follow(reports *os.File) error {
	if err := reports.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
		return err
	}
	step := "starting"
	for lines := bufio.NewScanner(reports); lines.Scan(); {
		line := lines.Text()
		if line == reportReady {
			return nil
		}
		if reason, failed := strings.CutPrefix(line, reportError); failed {
			return errors.New(strings.ReplaceAll(reason, reportNewline, "\n"))
		}
		step = line
		fmt.Println("  " + step)
	}
	return fmt.Errorf("cluster %s did not get past %q; all logs are in %s\n%s", c.Name, step, c.Logs, tail(c.log("supervisor")))
}

// The port of last time if it is free, so that kubeconfigs and open shells stay right; else any.
func listenOnLoopback(port int) (*net.TCPListener, error) {
	address := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
	listener, err := net.ListenTCP("tcp4", address)
	if err != nil && port != 0 {
		address.Port = 0
		listener, err = net.ListenTCP("tcp4", address)
	}
	return listener, err
}

func kubeconfig(c Cluster, _ []string) error {
	if record, err := c.record(); err != nil {
		return err
	} else if !record.alive() {
		return c.notUp()
	}
	fmt.Println(c.kubeconfig())
	return nil
}

func (c Cluster) notUp() error {
	return fmt.Errorf("cluster %s is not up: dev/cluster --name %s up", c.Name, c.Name)
}
