package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"time"
)

const dialTimeout = 5 * time.Second

// Forwards carry connections from the host's loopback into the cluster's network. The listeners were made
// outside; what accepts and dials is inside.
type forwards struct {
	mutex   sync.Mutex
	targets map[string]string // by the listener's address
}

func newForwards() *forwards { return &forwards{targets: map[string]string{}} }

func (f *forwards) serve(listener net.Listener, target string) {
	f.mutex.Lock()
	f.targets[listener.Addr().String()] = target
	f.mutex.Unlock()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				log.Printf("the forward to %s has ended: %v", target, err)
				return
			}
			go carry(connection.(*net.TCPConn), target)
		}
	}()
}

// The target of an address on the host, if there is a forward for it.
func (f *forwards) target(address string) (string, bool) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	target, found := f.targets[address]
	return target, found
}

func (f *forwards) describe() []string {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	var lines []string
	for address, target := range f.targets {
		lines = append(lines, fmt.Sprintf("%s -> %s", address, target))
	}
	return lines
}

func carry(outside *net.TCPConn, target string) {
	defer outside.Close()
	dialer := net.Dialer{Timeout: dialTimeout, Resolver: resolver}
	connection, err := dialer.DialContext(context.Background(), "tcp4", target)
	if err != nil {
		log.Printf("a connection for %s was dropped: %v", target, err)
		return
	}
	inside := connection.(*net.TCPConn)
	defer inside.Close()
	var both sync.WaitGroup
	both.Go(func() { copyHalf(inside, outside) })
	both.Go(func() { copyHalf(outside, inside) })
	both.Wait()
}

// The end of one direction is passed on; the other may still have something to say.
func copyHalf(to, from *net.TCPConn) {
	_, _ = io.Copy(to, from) // A broken connection is the peers' affair.
	_ = to.CloseWrite()
}
