// asynq: `asynq work CONCURRENCY`, or `asynq one SECONDS | bulk COUNT | paced COUNT`, which enqueues and prints
// "COUNT SECONDS". bench/src/marks.rs tells what a job leaves behind.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
)

const (
	enqueued = iota
	started
	ended
)

const pace = 20 * time.Millisecond

var marks *os.File

func main() {
	log.SetFlags(0)
	amount, err := strconv.Atoi(os.Args[2])
	check(err)
	marks, err = os.OpenFile(os.Getenv("MARKS"), os.O_WRONLY|os.O_APPEND, 0)
	check(err)
	redis := asynq.RedisClientOpt{Addr: "127.0.0.1:" + os.Getenv("REDIS_PORT")}
	if os.Args[1] == "work" {
		work(redis, amount)
		return
	}
	client := asynq.NewClient(redis)
	defer client.Close()
	begun := time.Now()
	count := produce(client, os.Args[1], amount)
	fmt.Println(count, time.Since(begun).Seconds())
}

func work(redis asynq.RedisConnOpt, concurrency int) {
	ms, _ := strconv.Atoi(os.Getenv("JOB_MS"))
	job := func(_ context.Context, task *asynq.Task) error {
		number := binary.LittleEndian.Uint32(task.Payload())
		mark(number, started)
		if ms > 0 {
			time.Sleep(time.Duration(ms) * time.Millisecond)
			mark(number, ended)
		}
		return nil
	}
	server := asynq.NewServer(redis, asynq.Config{Concurrency: concurrency, LogLevel: asynq.WarnLevel})
	check(server.Run(asynq.HandlerFunc(job)))
}

func produce(client *asynq.Client, mode string, amount int) int {
	begun := time.Now()
	count := 0
	for ; ; count++ {
		switch mode {
		case "one":
			if time.Since(begun) >= time.Duration(amount)*time.Second {
				return count
			}
		case "bulk", "paced": // It has no call for many.
			if count == amount {
				return count
			}
		default:
			log.Fatalf("no mode %q", mode)
		}
		if mode == "paced" {
			time.Sleep(time.Until(begun.Add(time.Duration(count) * pace)))
			mark(uint32(count), enqueued)
		}
		payload := binary.LittleEndian.AppendUint32(nil, uint32(count))
		_, err := client.Enqueue(asynq.NewTask("job", payload))
		check(err)
	}
}

func mark(number uint32, phase uint32) {
	record := binary.LittleEndian.AppendUint32(nil, number)
	record = binary.LittleEndian.AppendUint32(record, phase)
	record = binary.LittleEndian.AppendUint64(record, uint64(time.Now().UnixNano()))
	_, err := marks.Write(record)
	check(err)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
