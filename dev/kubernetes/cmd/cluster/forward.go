package main

import (
	"fmt"
	"net"
	"regexp"
	"strings"
)

var validTarget = regexp.MustCompile(`^[a-z0-9-]+\.[a-z0-9-]+:[0-9]+$`)

func forward(c Cluster, arguments []string) error {
	port, service := arguments[0], arguments[1]
	if !validTarget.MatchString(service) {
		return fmt.Errorf("%q is not of the form SERVICE.NAMESPACE:PORT", service)
	}
	record, err := c.record()
	if err != nil {
		return err
	}
	if !record.alive() {
		return c.notUp()
	}
	target := strings.Replace(service, ":", ".svc.cluster.local:", 1)
	address := net.JoinHostPort("127.0.0.1", port)
	known, err := c.ask(request{Verb: verbStatus, Address: address})
	if err != nil {
		return err
	}
	if known.Target == target {
		fmt.Printf("localhost:%s reaches %s already\n", port, service)
		return nil
	}
	if known.Target != "" {
		return fmt.Errorf("localhost:%s already reaches %s", port, known.Target)
	}
	listener, err := net.Listen("tcp4", address)
	if err != nil {
		return fmt.Errorf("port %s of this machine cannot be used: %w", port, err)
	}
	defer listener.Close()
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := c.ask(request{Verb: verbForward, Address: address, Target: target}, file); err != nil {
		return err
	}
	fmt.Printf("localhost:%s reaches %s\n", port, service)
	return nil
}
