package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

const (
	verbStatus  = "status"
	verbForward = "forward"

	askTimeout  = 10 * time.Second
	maxQuestion = 4096
)

// A question from the host's side to the supervisor. A forward's listener travels with it.
type request struct {
	Verb    string `json:"verb"`
	Address string `json:"address,omitempty"` // on the host
	Target  string `json:"target,omitempty"`
}

type answer struct {
	Error      string   `json:"error,omitempty"`
	Components []string `json:"components,omitempty"`
	Forwards   []string `json:"forwards,omitempty"`
	Target     string   `json:"target,omitempty"` // where the address in question is forwarded already
}

func (c Cluster) ask(question request, files ...*os.File) (answer, error) {
	connection, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: c.controlSocket(), Net: "unix"})
	if err != nil {
		return answer{}, err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return answer{}, err
	}
	text, err := json.Marshal(question)
	if err != nil {
		return answer{}, err
	}
	var rights []byte
	for _, file := range files {
		rights = append(rights, syscall.UnixRights(int(file.Fd()))...)
	}
	if _, _, err := connection.WriteMsgUnix(text, rights, nil); err != nil {
		return answer{}, err
	}
	var reply answer
	if err := json.NewDecoder(connection).Decode(&reply); err != nil {
		return answer{}, err
	}
	if reply.Error != "" {
		return answer{}, errors.New(reply.Error)
	}
	return reply, nil
}

func (s *Supervisor) serveControl() error {
	if err := os.Remove(s.controlSocket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.controlSocket(), Net: "unix"})
	if err != nil {
		return err
	}
	go func() {
		for {
			connection, err := listener.AcceptUnix()
			if err != nil {
				log.Printf("the control socket has closed: %v", err)
				return
			}
			go s.reply(connection)
		}
	}()
	return nil
}

func (s *Supervisor) reply(connection *net.UnixConn) {
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return
	}
	reply, err := s.answer(connection)
	if err != nil {
		reply.Error = err.Error()
	}
	if err := json.NewEncoder(connection).Encode(reply); err != nil {
		log.Print(err)
	}
}

func (s *Supervisor) answer(connection *net.UnixConn) (answer, error) {
	text, rights := make([]byte, maxQuestion), make([]byte, syscall.CmsgSpace(4))
	length, rightsLength, _, _, err := connection.ReadMsgUnix(text, rights)
	if err != nil {
		return answer{}, err
	}
	var question request
	if err := json.Unmarshal(text[:length], &question); err != nil {
		return answer{}, err
	}
	switch question.Verb {
	case verbStatus:
		forwards := s.forwards.describe()
		slices.Sort(forwards)
		target, _ := s.forwards.target(question.Address)
		return answer{Components: s.states(), Forwards: forwards, Target: target}, nil
	case verbForward:
		listener, err := receivedListener(rights[:rightsLength])
		if err != nil {
			return answer{}, err
		}
		s.forwards.serve(listener, question.Target)
		return answer{}, nil
	default:
		return answer{}, fmt.Errorf("unknown request %q", question.Verb)
	}
}

func receivedListener(rights []byte) (net.Listener, error) {
	messages, err := syscall.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, errors.New("a forward must come with its listener")
	}
	descriptors, err := syscall.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	if len(descriptors) != 1 {
		return nil, errors.New("a forward must come with one listener")
	}
	file := os.NewFile(uintptr(descriptors[0]), "listener")
	defer file.Close()
	return net.FileListener(file)
}
