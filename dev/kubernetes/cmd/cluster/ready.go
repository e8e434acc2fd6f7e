package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

const pollInterval = 100 * time.Millisecond

// Waits until a check passes. A program that ends meanwhile is the reason, and its log says why.
func (s *Supervisor) await(ctx context.Context, what string, check func(context.Context) error) error {
	for {
		err := check(ctx)
		if err == nil {
			log.Printf("%s is ready", what)
			return nil
		}
		if ended := s.firstEnd(); ended != nil {
			return ended
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s: %w", what, startTimeout, err)
		case <-time.After(pollInterval):
		}
	}
}

func (s *Supervisor) firstEnd() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, process := range s.processes {
		select {
		case err := <-process.ended:
			return err
		default:
		}
	}
	return nil
}

func (s *Supervisor) apiServerReady(ctx context.Context) error {
	authority, err := os.ReadFile(s.pki("ca.crt"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return fmt.Errorf("%s holds no certificate", s.pki("ca.crt"))
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	return get(ctx, transport, "https://"+apiAddress+"/readyz")
}

func get(ctx context.Context, transport *http.Transport, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}

// Kubectl wait errs until the node exists, so it is asked again. After a crash the node may still be called Ready from
// before, so the kubelet is asked too.
func (s *Supervisor) nodeReady(ctx context.Context) error {
	if err := get(ctx, &http.Transport{DisableKeepAlives: true}, "http://127.0.0.1:10248/healthz"); err != nil {
		return err
	}
	return s.command(ctx, "kubectl", "--kubeconfig="+s.adminKubeconfig(),
		"wait", "--for=condition=Ready", "node/"+s.Name, "--timeout=10s")
}

// Without it a bare Pod is refused.
func (s *Supervisor) serviceAccountReady(ctx context.Context) error {
	return s.command(ctx, "kubectl", "--kubeconfig="+s.adminKubeconfig(), "get", "serviceaccount", "default")
}

// CoreDNS is asked for a name only when it has read the Services: what it does not know yet it would remember as unknown.
func (s *Supervisor) dnsReady(ctx context.Context) error {
	if err := get(ctx, &http.Transport{DisableKeepAlives: true}, "http://"+nodeAddress+":8181/ready"); err != nil {
		return err
	}
	addresses, err := resolver.LookupHost(ctx, "kubernetes.default.svc.cluster.local")
	if err == nil && len(addresses) == 0 {
		return errors.New("kubernetes.default has no address")
	}
	return err
}

func (s *Supervisor) containerdReady(ctx context.Context) error {
	return exec.CommandContext(ctx, "ctr", "--address="+s.containerdSocket(), "--timeout=1s", "version").Run()
}

// Resolver asks the cluster's DNS server and no other.
var resolver = &net.Resolver{
	PreferGo: true,
	Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, net.JoinHostPort(nodeAddress, "53"))
	},
}

func (s *Supervisor) states() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	states := make([]string, 0, len(s.processes))
	for _, process := range s.processes {
		states = append(states, process.state())
	}
	return states
}

func (p *Process) state() string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	var notes []string
	if p.restarts > 0 {
		notes = append(notes, fmt.Sprintf("restarted %d times", p.restarts))
	}
	return strings.TrimRight(fmt.Sprintf("%-24s %s", p.name, strings.Join(notes, ", ")), " ")
}
