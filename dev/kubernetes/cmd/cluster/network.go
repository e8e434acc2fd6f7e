package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

const bridge = "cni0"

// The bridge of the pods is made by hand, so that its address can be the node's, the API server's and the
// DNS server's before the first pod. Without a default route the node could not reach a ClusterIP.
var networkCommands = []string{
	"link set lo up",
	"link add " + bridge + " type bridge",
	"address add " + nodeAddress + "/24 dev " + bridge,
	"link set " + bridge + " up",
	"route add default dev " + bridge,
}

func makeNetwork() error {
	for _, command := range networkCommands {
		output, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", command, err, output)
		}
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return err
	}
	return filterBridge()
}

// Pods reach one another's Services over the bridge, so iptables must see what it carries. Many kernels have that as a
// module which nothing loads by itself.
func filterBridge() error {
	const setting = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	if _, err := os.Stat(setting); err != nil {
		if output, err := exec.Command("modprobe", "br_netfilter").CombinedOutput(); err != nil {
			return fmt.Errorf("the kernel's br_netfilter cannot be loaded: %w: %s", err, output)
		}
	}
	return os.WriteFile(setting, []byte("1"), 0)
}
