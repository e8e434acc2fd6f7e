package main

import (
	"embed"
	"os"
	"path/filepath"
	"text/template"
)

//go:embed manifests
var manifestFiles embed.FS

const pauseImage = "localhost/pause:1"

// Settings are what the files in manifests/ may name.
type settings struct {
	Name, Version, State, PKI                             string
	NodeAddress, APIAddress                               string
	PodSubnet, NodePodSubnet, ServiceSubnet, Bridge       string
	AdminKubeconfig, ContainerdSocket, Cgroup, PauseImage string
}

func (c Cluster) settings() settings {
	return settings{
		Name:             c.Name,
		Version:          c.Version,
		State:            c.State,
		PKI:              c.pki(""),
		NodeAddress:      nodeAddress,
		APIAddress:       apiAddress,
		PodSubnet:        podSubnet,
		NodePodSubnet:    nodePodSubnet,
		ServiceSubnet:    serviceSubnet,
		Bridge:           bridge,
		AdminKubeconfig:  c.adminKubeconfig(),
		ContainerdSocket: c.containerdSocket(),
		Cgroup:           c.cgroup(),
		PauseImage:       pauseImage,
	}
}

// Writes every file of manifests/ into the state folder, filled in.
func (c Cluster) writeManifests() error {
	templates, err := template.ParseFS(manifestFiles, "manifests/*")
	if err != nil {
		return err
	}
	for _, manifest := range templates.Templates() {
		path := c.manifest(manifest.Name())
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		file, err := os.Create(path)
		if err != nil {
			return err
		}
		if err := manifest.Execute(file, c.settings()); err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Containerd reads every file of a folder, so the network's has one to itself.
func (c Cluster) manifest(name string) string {
	if filepath.Ext(name) == ".conflist" {
		return c.path("cni", name)
	}
	return c.path(name)
}
