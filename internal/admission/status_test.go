package admission

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// Statuses that are older than the phase are not judged, and not stored.
func TestFailedWithRunningContainers(t *testing.T) {
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 143}}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	kubelet, podGC := []string{"system:nodes", "system:authenticated"}, []string{"system:serviceaccounts"}
	for sentence, c := range map[string]struct {
		groups []string
		state  corev1.ContainerState
		stored corev1.PodPhase
		denied bool
	}{
		"a kubelet that reports a running container has to report its end": {kubelet, running, corev1.PodRunning, true},
		"a kubelet that reports all ends":                                  {kubelet, ended, corev1.PodRunning, false},
		"the pod of a node that is gone gets no other report":              {podGC, running, corev1.PodRunning, false},
		"a report that is repeated changes nothing":                        {kubelet, running, corev1.PodSucceeded, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			pod := func(phase corev1.PodPhase) *Object {
				var o Object
				o.Metadata.Labels = map[string]string{api.Label: "main"}
				o.Metadata.Annotations = map[string]string{api.TrackedAnnotation: "main"}
				o.Status = corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{
					{Name: "main", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}, {Name: "proxy", State: c.state},
				}}
				o.Spec.RestartPolicy = corev1.RestartPolicyNever
				return &o
			}
			v := Status(pod(corev1.PodFailed), pod(c.stored), c.groups, essential.DefaultPolicies())
			if (len(v.Denial) > 0) != c.denied || (len(v.Patch) > 0) == c.denied {
				t.Errorf("got %+v, want a denial: %t", v, c.denied)
			}
		})
	}
}
