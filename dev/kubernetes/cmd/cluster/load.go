package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func load(c Cluster, images []string) error {
	record, err := c.record()
	if err != nil {
		return err
	}
	if !record.alive() {
		return c.notUp()
	}
	for _, image := range images {
		loaded, err := c.loadImage(image)
		if err != nil {
			return fmt.Errorf("image %s cannot be loaded: %w", image, err)
		}
		if loaded {
			fmt.Printf("loaded %s into cluster %s\n", image, c.Name)
		} else {
			fmt.Printf("cluster %s has %s already\n", c.Name, image)
		}
	}
	return nil
}

// False: the cluster was given the same bytes before.
func (c Cluster) loadImage(image string) (bool, error) {
	archive := image
	if !strings.HasSuffix(image, ".tar") {
		folder, err := os.MkdirTemp("", "workerpool-image-")
		if err != nil {
			return false, err
		}
		defer os.RemoveAll(folder)
		archive = filepath.Join(folder, "image.tar")
		if err := quietly("buildah", "push", "--quiet", image, "docker-archive:"+archive+":"+fullName(image)); err != nil {
			return false, err
		}
	}
	digest, err := digest(archive)
	if err != nil {
		return false, err
	}
	mark := c.path("loaded", digest)
	if _, err := os.Stat(mark); err == nil {
		return false, nil
	}
	if err := quietly("ctr", "--address="+c.containerdSocket(), "--namespace=k8s.io", "images", "import", archive); err != nil {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(mark), 0o755); err != nil {
		return false, err
	}
	return true, os.WriteFile(mark, []byte(image+"\n"), 0o644)
}

func digest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// The name under which a Pod's image is looked for: what has no registry is on Docker's, and there in "library".
func fullName(image string) string {
	first, _, found := strings.Cut(image, "/")
	switch {
	case !found:
		return "docker.io/library/" + image
	case first == "localhost" || strings.ContainsAny(first, ".:"):
		return image
	default:
		return "docker.io/" + image
	}
}

func quietly(name string, arguments ...string) error {
	if output, err := exec.Command(name, arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, output)
	}
	return nil
}
