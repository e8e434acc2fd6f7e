package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	initCommand      = "init"
	superviseCommand = "supervise"

	// What the supervisor writes to the waiting dev/cluster up, besides the names of its steps.
	reportReady   = "ready"
	reportError   = "error: "
	reportNewline = "\x1f"

	// Inherited files: the pipe for reports, and the API server's port on the host's loopback. A socket stays in
	// the network in which it was made, so a process inside can accept what arrives outside.
	reportFile      = 3
	apiListenerFile = 4
)

// Process 1 of the namespace: starts the supervisor and buries whatever is left to it. When it ends,
// the kernel ends everything else inside.
func runInit(args []string) int {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT)
	self, err := os.Executable()
	if err != nil {
		log.Print(err)
		return 1
	}
	supervisor := exec.Command(self, append([]string{superviseCommand}, args...)...)
	supervisor.Stdout, supervisor.Stderr = os.Stdout, os.Stderr
	supervisor.ExtraFiles = []*os.File{os.NewFile(reportFile, "reports"), os.NewFile(apiListenerFile, "api")}
	if err := supervisor.Start(); err != nil {
		log.Print(err)
		return 1
	}
	for _, file := range supervisor.ExtraFiles {
		file.Close()
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid == supervisor.Process.Pid {
			log.Printf("the supervisor has ended: status %d, %v", status, err)
			return 1
		}
	}
}

func runSupervisor(args []string) int {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	reports := os.NewFile(reportFile, "reports")
	fail := func(err error) int {
		log.Print(err)
		fmt.Fprintln(reports, reportError+strings.ReplaceAll(err.Error(), "\n", reportNewline))
		return 1
	}
	if len(args) != 2 {
		return fail(fmt.Errorf("%s wants a name and a port", superviseCommand))
	}
	cluster, err := newCluster(args[0])
	if err != nil {
		return fail(err)
	}
	apiListener, err := net.FileListener(os.NewFile(apiListenerFile, "api"))
	if err != nil {
		return fail(err)
	}
	supervisor := &Supervisor{Cluster: cluster, apiPort: args[1], forwards: newForwards()}
	// It may accept at once: a connection that comes before the API server answers is dropped.
	supervisor.forwards.serve(apiListener, apiAddress)

	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	begin := time.Now()
	report := func(step string) {
		log.Printf("%s (%.1f s)", step, time.Since(begin).Seconds())
		fmt.Fprintln(reports, step)
	}
	if err := supervisor.start(ctx, report); err != nil {
		return fail(err)
	}
	report(reportReady)
	reports.Close()
	select {} // Components are kept running by their own goroutines, until process 1 is killed.
}
