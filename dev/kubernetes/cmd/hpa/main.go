//go:build hpa

// Command hpa answers what the HorizontalPodAutoscaler's own code would do: the oracle of scaling/tests/hpa.rs.
//
// It reads cases from stdin, whitespace between numbers, and prints a count for each:
//
//	current desired min max RULES(up) RULES(down) PASTS(recommendations) PASTS(added) PASTS(removed)
//	RULES: window in seconds, select policy (0 Max, 1 Min, 2 Disabled), how many policies; for each: kind (0 Pods, 1 Percent), value, period in seconds
//	PASTS: how many; for each: age in milliseconds, value
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"workerpool.dev/kubernetes/cmd/hpa/podautoscaler"
)

var (
	selects = []autoscalingv2.ScalingPolicySelect{
		autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect, autoscalingv2.DisabledPolicySelect,
	}
	kinds = []autoscalingv2.HPAScalingPolicyType{autoscalingv2.PodsScalingPolicy, autoscalingv2.PercentScalingPolicy}
)

// reader reads numbers until one cannot be read; then it only remembers why.
type reader struct {
	from *bufio.Reader
	err  error
}

func (r *reader) number() (n int32) {
	if r.err == nil {
		_, r.err = fmt.Fscan(r.from, &n)
	}
	return n
}

func (r *reader) rules() *autoscalingv2.HPAScalingRules {
	window, selectPolicy := r.number(), selects[r.number()]
	policies := make([]autoscalingv2.HPAScalingPolicy, r.number())
	for i := range policies {
		policies[i] = autoscalingv2.HPAScalingPolicy{Type: kinds[r.number()], Value: r.number(), PeriodSeconds: r.number()}
	}
	return podautoscaler.Rules(window, selectPolicy, policies)
}

func (r *reader) pasts() []podautoscaler.Past {
	pasts := make([]podautoscaler.Past, r.number())
	for i := range pasts {
		pasts[i] = podautoscaler.Past{Age: time.Duration(r.number()) * time.Millisecond, Value: r.number()}
	}
	return pasts
}

func main() {
	in := &reader{from: bufio.NewReader(os.Stdin)}
	out := bufio.NewWriter(os.Stdout)
	for {
		current := in.number()
		if errors.Is(in.err, io.EOF) {
			break
		}
		args := podautoscaler.NormalizationArg{
			Key: "case", CurrentReplicas: current, DesiredReplicas: in.number(), MinReplicas: in.number(), MaxReplicas: in.number(),
			ScaleUpBehavior: in.rules(), ScaleDownBehavior: in.rules(),
		}
		count := podautoscaler.Normalize(args, in.pasts(), in.pasts(), in.pasts())
		if in.err != nil {
			log.Fatalf("a case is cut short: %v", in.err)
		}
		fmt.Fprintln(out, count)
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}
