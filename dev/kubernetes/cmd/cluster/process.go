package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	tailLines = 15
	tailBytes = 16 << 10

	restartDelay    = time.Second
	maxRestartDelay = 30 * time.Second
)

// Process is one program of the cluster, with a log of its own.
type Process struct {
	name    string
	command []string
	log     string

	mutex    sync.Mutex
	pid      int
	restarts int
	ended    chan error // the first end; later ones are restarted
}

func (p *Process) start() (*exec.Cmd, error) {
	output, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	command := exec.Command(p.command[0], p.command[1:]...)
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("%s cannot be started: %w", p.name, err)
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.pid = command.Process.Pid
	return command, nil
}

// Runs the program for as long as the cluster is up: whatever ends is started again, more and more slowly. Its
// first end is announced, because while the cluster starts it is an error.
func (p *Process) run() error {
	command, err := p.start()
	if err != nil {
		return err
	}
	p.ended = make(chan error, 1)
	go func() {
		for delay := restartDelay; ; delay = min(2*delay, maxRestartDelay) {
			begin := time.Now()
			err := command.Wait()
			log.Printf("%s has ended (%v)", p.name, err)
			select {
			case p.ended <- fmt.Errorf("%s has ended (%v)\n%s", p.name, err, tail(p.log)):
			default:
			}
			if time.Since(begin) > maxRestartDelay {
				delay = restartDelay
			}
			for {
				time.Sleep(delay)
				if command, err = p.start(); err == nil {
					break
				}
				log.Print(err)
			}
			p.mutex.Lock()
			p.restarts++
			p.mutex.Unlock()
		}
	}()
	return nil
}

// Tail is a log's last lines, for an error message.
func tail(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err.Error()
	}
	text := make([]byte, min(info.Size(), tailBytes))
	if _, err := file.ReadAt(text, info.Size()-int64(len(text))); err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	return "the last lines of " + path + ":\n  " + strings.Join(lines, "\n  ")
}
