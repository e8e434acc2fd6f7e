package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Supervisor starts a cluster's programs and keeps them running.
type Supervisor struct {
	Cluster
	apiPort  string
	forwards *forwards

	mutex     sync.Mutex
	processes []*Process
}

// From empty namespaces to a node that is Ready and a DNS server that answers. What does not depend on
// each other starts at the same time.
func (s *Supervisor) start(ctx context.Context, report func(string)) error {
	if err := s.prepare(); err != nil {
		return err
	}
	report("starting the API server")
	var images errgroup.Group
	if err := s.run(s.containerd()); err != nil {
		return err
	}
	images.Go(func() error { return s.importPause(ctx) })
	if err := s.run(s.etcd()); err != nil {
		return err
	}
	if err := s.certify(ctx); err != nil {
		return err
	}
	if err := s.run(s.apiServer()); err != nil {
		return err
	}
	if err := s.await(ctx, "the API server", s.apiServerReady); err != nil {
		return err
	}
	report("starting the node")
	// Controller-manager and scheduler would exit before now: RBAC is bootstrapped late.
	if err := s.run(s.controllerManager(), s.scheduler(), s.kubelet(), s.proxy(), s.coreDNS()); err != nil {
		return err
	}
	if err := s.applyAddons(ctx); err != nil {
		return err
	}
	if err := images.Wait(); err != nil {
		return err
	}
	if err := s.await(ctx, "the node", s.nodeReady); err != nil {
		return err
	}
	if err := s.await(ctx, "the default service account", s.serviceAccountReady); err != nil {
		return err
	}
	return s.await(ctx, "DNS", s.dnsReady)
}

func (s *Supervisor) prepare() error {
	for _, step := range []func() error{
		s.mountFolders, makeNetwork, func() error { return makeCgroups(s.cgroup()) }, openVolumes, s.writeManifests, s.serveControl,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Supervisor) run(processes ...*Process) error {
	for _, process := range processes {
		if err := process.run(); err != nil {
			return err
		}
		s.mutex.Lock()
		s.processes = append(s.processes, process)
		s.mutex.Unlock()
	}
	return nil
}

func (s *Supervisor) process(name string, arguments ...string) *Process {
	return &Process{
		name:    name,
		command: append([]string{name}, arguments...),
		log:     s.log(name),
	}
}

func (s *Supervisor) etcd() *Process {
	return s.process("etcd",
		"--data-dir="+s.path("etcd"),
		"--listen-client-urls=http://127.0.0.1:2379",
		"--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--unsafe-no-fsync", // data that a power cut may lose: this is for tests
	)
}

func (s *Supervisor) apiServer() *Process {
	return s.process("kube-apiserver",
		"--advertise-address="+nodeAddress,
		"--allow-privileged=true",
		"--authorization-mode=Node,RBAC",
		"--client-ca-file="+s.pki("ca.crt"),
		"--enable-admission-plugins=NodeRestriction",
		"--etcd-servers=http://127.0.0.1:2379",
		"--kubelet-client-certificate="+s.pki("apiserver-kubelet-client.crt"),
		"--kubelet-client-key="+s.pki("apiserver-kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--proxy-client-cert-file="+s.pki("front-proxy-client.crt"),
		"--proxy-client-key-file="+s.pki("front-proxy-client.key"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-client-ca-file="+s.pki("front-proxy-ca.crt"),
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--secure-port=6443",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file="+s.pki("sa.pub"),
		"--service-account-signing-key-file="+s.pki("sa.key"),
		"--service-cluster-ip-range="+serviceSubnet,
		"--tls-cert-file="+s.pki("apiserver.crt"),
		"--tls-private-key-file="+s.pki("apiserver.key"),
	)
}

func (s *Supervisor) controllerManager() *Process {
	kubeconfig := s.path("kubernetes", "controller-manager.conf")
	return s.process("kube-controller-manager",
		"--authentication-kubeconfig="+kubeconfig,
		"--authorization-kubeconfig="+kubeconfig,
		"--bind-address=127.0.0.1",
		"--cluster-signing-cert-file="+s.pki("ca.crt"),
		"--cluster-signing-key-file="+s.pki("ca.key"),
		"--enable-hostpath-provisioner",
		"--flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins",
		// At the default of 20 a second it takes 5 s only to fetch a token for each controller.
		"--kube-api-burst=1000",
		"--kube-api-qps=500",
		"--kubeconfig="+kubeconfig,
		"--leader-elect=false",
		"--root-ca-file="+s.pki("ca.crt"),
		"--service-account-private-key-file="+s.pki("sa.key"),
		"--use-service-account-credentials=true",
	)
}

func (s *Supervisor) scheduler() *Process {
	kubeconfig := s.path("kubernetes", "scheduler.conf")
	return s.process("kube-scheduler",
		"--authentication-kubeconfig="+kubeconfig,
		"--authorization-kubeconfig="+kubeconfig,
		"--bind-address=127.0.0.1",
		"--kubeconfig="+kubeconfig,
		"--leader-elect=false",
	)
}

func (s *Supervisor) kubelet() *Process {
	return s.process("kubelet",
		"--config="+s.manifest("kubelet.yaml"),
		"--hostname-override="+s.Name,
		"--kubeconfig="+s.path("kubernetes", "kubelet.conf"),
		"--node-ip="+nodeAddress,
	)
}

func (s *Supervisor) containerd() *Process {
	return s.process("containerd", "--config="+s.manifest("containerd.toml"))
}

func (s *Supervisor) proxy() *Process {
	return s.process("kube-proxy", "--config="+s.manifest("kube-proxy.yaml"))
}

func (s *Supervisor) coreDNS() *Process {
	return s.process("coredns", "-conf="+s.manifest("Corefile"))
}

// Certificates and kubeconfigs, once: they outlive a crash as they outlive a reboot.
func (s *Supervisor) certify(ctx context.Context) error {
	if _, err := os.Stat(s.adminKubeconfig()); err != nil {
		config := "--config=" + s.manifest("kubeadm.yaml")
		folder := "--kubeconfig-dir=" + filepath.Dir(s.adminKubeconfig())
		for _, arguments := range [][]string{{"certs", "all", config}, {"kubeconfig", "all", config, folder}} {
			if err := s.command(ctx, "kubeadm", append([]string{"init", "phase"}, arguments...)...); err != nil {
				return err
			}
		}
	}
	// The forward's port may have changed since the last start.
	text, err := os.ReadFile(s.adminKubeconfig())
	if err != nil {
		return err
	}
	outside := strings.ReplaceAll(string(text), "https://"+apiAddress, "https://127.0.0.1:"+s.apiPort)
	return os.WriteFile(s.kubeconfig(), []byte(outside), 0o600)
}

func (s *Supervisor) applyAddons(ctx context.Context) error {
	return s.command(ctx, "kubectl", "--kubeconfig="+s.adminKubeconfig(), "apply", "-f", s.manifest("addons.yaml"))
}

func (s *Supervisor) importPause(ctx context.Context) error {
	if err := s.await(ctx, "containerd", s.containerdReady); err != nil {
		return err
	}
	return s.command(ctx, "ctr", "--address="+s.containerdSocket(), "--namespace=k8s.io", "images", "import", filepath.Join(s.Bin, "pause.tar"))
}

// Runs a short command; what it says is for the error message only.
func (s *Supervisor) command(ctx context.Context, name string, arguments ...string) error {
	command := exec.CommandContext(ctx, name, arguments...)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(arguments, " "), err, output)
	}
	return nil
}
