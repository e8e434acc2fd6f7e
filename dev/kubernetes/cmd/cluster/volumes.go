package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Where the controller-manager's host-path provisioner makes a folder for each PersistentVolume (fixed in its
// source, pkg/volume/hostpath; /tmp is private here).
const volumesFolder = "/tmp/hostpath_pv"

// Opens each new volume to all users. The provisioner makes them for root alone, and a hostPath has no fsGroup, so a
// Pod that does not run as root, as a good one does not, could not write to its volume.
func openVolumes() error {
	if err := os.MkdirAll(volumesFolder, 0o755); err != nil {
		return err
	}
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("volumes cannot be watched: %w", err)
	}
	if _, err := unix.InotifyAddWatch(watch, volumesFolder, unix.IN_CREATE|unix.IN_ONLYDIR); err != nil {
		return fmt.Errorf("volumes cannot be watched: %w", err)
	}
	go func() {
		events := os.NewFile(uintptr(watch), "volumes")
		buffer := make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
		for {
			length, err := events.Read(buffer)
			if err != nil {
				log.Printf("volumes are no longer opened to all users: %v", err)
				return
			}
			for _, name := range createdNames(buffer[:length]) {
				if err := os.Chmod(filepath.Join(volumesFolder, name), 0o777); err != nil {
					log.Print(err)
				}
			}
		}
	}()
	return nil
}

// An event is four 32-bit numbers, the last of them the length of the name that follows, padded with zeros.
func createdNames(events []byte) []string {
	var names []string
	for len(events) >= unix.SizeofInotifyEvent {
		length := int(binary.NativeEndian.Uint32(events[12:16]))
		end := unix.SizeofInotifyEvent + length
		name, _, _ := bytes.Cut(events[unix.SizeofInotifyEvent:end], []byte{0})
		names = append(names, string(name))
		events = events[end:]
	}
	return names
}
