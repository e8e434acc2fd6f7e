package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

func status(c Cluster, _ []string) error {
	record, err := c.record()
	if err != nil {
		return err
	}
	if !record.alive() {
		if record.PID != 0 {
			return fmt.Errorf("cluster %s has crashed: up starts it again with what it held, down clears it away", c.Name)
		}
		return c.notUp()
	}
	reply, err := c.ask(request{Verb: verbStatus})
	if err != nil {
		return fmt.Errorf("cluster %s runs but does not answer: %w", c.Name, err)
	}
	fmt.Printf("cluster %s: Kubernetes %s, process %d\n", c.Name, record.Version, record.PID)
	fmt.Println("kubeconfig: " + c.kubeconfig())
	fmt.Println("logs:       " + c.Logs)
	fmt.Println("forwards:\n  " + strings.Join(reply.Forwards, "\n  "))
	fmt.Println("programs:\n  " + strings.Join(reply.Components, "\n  "))
	nodes := exec.Command("kubectl", "--kubeconfig="+c.kubeconfig(), "get", "nodes", "--request-timeout=5s")
	nodes.Stdout, nodes.Stderr = os.Stdout, os.Stderr
	return nodes.Run()
}
