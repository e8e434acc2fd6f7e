package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Addresses inside a cluster's network. Every cluster has the same ones, each in a network of its own.
const (
	nodeAddress   = "10.244.0.1"
	podSubnet     = "10.244.0.0/16"
	nodePodSubnet = "10.244.0.0/24"
	serviceSubnet = "10.96.0.0/16"
	apiAddress    = "127.0.0.1:6443"
)

// Cluster is where one cluster's things lie. All of it is below the cache folder, outside the repository.
type Cluster struct {
	Name    string
	Version string // of Kubernetes, as in 1.37.2
	Bin     string // the programs, by their usual names
	Cache   string // the folder of everything, which the cluster's mount namespace keeps in sight
	State   string // gone after down
	Logs    string // kept after down, replaced by the next up
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9]{0,15}$`)

func newCluster(name string) (Cluster, error) {
	if !validName.MatchString(name) {
		return Cluster{}, fmt.Errorf("%q cannot be a cluster's name: up to 16 small letters and digits, a letter first", name)
	}
	cache, bin, version := os.Getenv("WORKERPOOL_CACHE"), os.Getenv("WORKERPOOL_CLUSTER_BIN"), os.Getenv("K8S_VERSION")
	if cache == "" || bin == "" || version == "" {
		return Cluster{}, errors.New("start it by dev/cluster, which builds what it needs first")
	}
	cluster := Cluster{
		Name:    name,
		Version: version,
		Bin:     bin,
		Cache:   cache,
		State:   filepath.Join(cache, "clusters", name),
		Logs:    filepath.Join(cache, "logs", "cluster-"+name),
	}
	return cluster, cluster.setEnvironment()
}

// Path of a file or folder in the cluster's state.
func (c Cluster) path(elements ...string) string {
	return filepath.Join(append([]string{c.State}, elements...)...)
}

func (c Cluster) log(component string) string { return filepath.Join(c.Logs, component+".log") }

// Kubeconfig for the host's shell: it goes through a forward on the host's loopback.
func (c Cluster) kubeconfig() string { return c.path("kubeconfig") }

// AdminKubeconfig is for programs inside the cluster's network. Its user is in system:masters, which
// holds before RBAC has been bootstrapped.
func (c Cluster) adminKubeconfig() string { return c.path("kubernetes", "super-admin.conf") }

func (c Cluster) pki(file string) string { return c.path("kubernetes", "pki", file) }

// Containerd's socket lies in the state folder, where both sides can reach it: /run is private inside.
func (c Cluster) containerdSocket() string { return c.path("containerd.sock") }

func (c Cluster) controlSocket() string { return c.path("control.sock") }

// Mark in the environment of everything that is started for this cluster.
func (c Cluster) mark() string { return clusterVariable + "=" + c.Name }

const clusterVariable = "WORKERPOOL_CLUSTER"

// Gives this program, and so all that it starts, the cluster's programs first on the path. An ordinary user's path
// may lack the folders of ip and iptables.
func (c Cluster) setEnvironment() error {
	path := strings.Join([]string{c.Bin, os.Getenv("PATH"), "/usr/sbin", "/sbin"}, ":")
	return errors.Join(os.Setenv("PATH", path), os.Setenv(clusterVariable, c.Name))
}
