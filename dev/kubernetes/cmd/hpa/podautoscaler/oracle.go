//go:build hpa

// Among the sources of k8s.io/kubernetes/pkg/controller/podautoscaler, which the build (dev/kubernetes/hpa) lays beside it: what
// it asks for is not exported there.

package podautoscaler

import (
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// Past is a number and how long ago it was true.
type Past struct {
	Age   time.Duration
	Value int32
}

// Normalize is what the controller makes of a count that the metrics ask for: normalizeDesiredReplicasWithBehaviors
// without the HPA object.
func Normalize(args NormalizationArg, recommendations, ups, downs []Past) int32 {
	now := time.Now()
	controller := &HorizontalController{
		recommendations: map[string][]timestampedRecommendation{},
		scaleUpEvents:   map[string][]timestampedScaleEvent{},
		scaleDownEvents: map[string][]timestampedScaleEvent{},
	}
	for _, past := range recommendations {
		controller.recommendations[args.Key] = append(controller.recommendations[args.Key],
			timestampedRecommendation{past.Value, now.Add(-past.Age)})
	}
	controller.scaleUpEvents[args.Key] = events(ups, now)
	controller.scaleDownEvents[args.Key] = events(downs, now)
	args.DesiredReplicas, _, _ = controller.stabilizeRecommendationWithBehaviors(args)
	count, _, _ := controller.convertDesiredReplicasWithBehaviorRate(args)
	return count
}

func events(changes []Past, now time.Time) []timestampedScaleEvent {
	var events []timestampedScaleEvent
	for _, past := range changes {
		events = append(events, timestampedScaleEvent{past.Value, now.Add(-past.Age), false})
	}
	return events
}

// Rules are a direction's rules as the API server would have filled them in.
func Rules(window int32, selectPolicy autoscalingv2.ScalingPolicySelect, policies []autoscalingv2.HPAScalingPolicy) *autoscalingv2.HPAScalingRules {
	return &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: &window, SelectPolicy: &selectPolicy, Policies: policies}
}
