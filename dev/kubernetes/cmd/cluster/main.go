// Command cluster runs a real Kubernetes on this machine, in a network, mount and process namespace of its own.
//
// Where to read:
//
//	up.go, down.go, status.go, exec.go, load.go, forward.go   what a person asks for; they run on the host
//	supervise.go                                              what runs inside: sets up, starts, watches
//	components.go, manifests/                                 the programs, their order and their settings
//	mounts.go, network.go, cgroups.go, volumes.go             what the programs stand on
//	control.go                                                how the two sides talk: one unix socket
//	cluster.go, record.go                                     where things lie, and what is known of a running cluster
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	// Process 1 of the cluster is this same program; it is never called by hand.
	if len(os.Args) > 1 && os.Args[1] == initCommand {
		os.Exit(runInit(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == superviseCommand {
		os.Exit(runSupervisor(os.Args[2:]))
	}
	if err := command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "dev/cluster:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var name string
	root := &cobra.Command{
		Use:           "dev/cluster",
		Short:         "A real Kubernetes on this machine, beside whatever else runs here",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.PersistentFlags().StringVar(&name, "name", "demo", "which cluster: names are free, each is a cluster of its own")

	add := func(use, short string, args cobra.PositionalArgs, run func(Cluster, []string) error) {
		root.AddCommand(&cobra.Command{
			Use:   use,
			Short: short,
			Args:  args,
			RunE: func(_ *cobra.Command, args []string) error {
				cluster, err := newCluster(name)
				if err != nil {
					return err
				}
				return run(cluster, args)
			},
		})
	}
	add("up", "start it, or wait until it is ready", cobra.NoArgs, up)
	add("down", "end it and remove every trace but the logs", cobra.NoArgs, down)
	add("status", "say whether it runs and how its parts are", cobra.NoArgs, status)
	add("kubeconfig", "print the path of a kubeconfig that works in this shell", cobra.NoArgs, kubeconfig)
	add("load IMAGE...", "give it images: names that buildah knows, or archives (*.tar)", cobra.MinimumNArgs(1), load)
	add("forward PORT SERVICE.NAMESPACE:PORT", "let localhost:PORT on this machine reach a Service", cobra.ExactArgs(2), forward)
	add("exec -- COMMAND...", "run a command inside its network, with kubectl and helm at hand", cobra.MinimumNArgs(1), execute)
	return root
}
