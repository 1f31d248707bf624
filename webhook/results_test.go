package webhook

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/test/manifest"
	"github.com/essential-containers/essential-containers/test/oracle"
)

func TestTheModeIsCounted(t *testing.T) {
	server, _ := serveHandlersWith(t, nativeByDefault())
	answer := server.ask(t, PodsPath, aReview(manifest.PodNever("main", "proxy").Label("main")))
	for _, operation := range []string{
		`{"op":"add","path":"/spec/initContainers/-","value":{"futureField":{},"image":"example.com/proxy","name":"proxy"}}`, // as it came
		`{"op":"add","path":"/spec/initContainers/0/restartPolicy","value":"Always"}`,
	} {
		if !strings.Contains(string(answer.Patch), operation) {
			t.Errorf("the patch %s lacks %s", answer.Patch, operation)
		}
	}
	server.ask(t, PodsPath, aReview(manifest.Pod("main", "proxy").Label("main")))
	server.ask(t, PodsPath, aReview(manifest.PodNever("main", "proxy").Label("main").Annotate(api.ModeAnnotation, "Reap")))
	counts := server.counts(t)
	for _, result := range []string{"native", "fallback", "tracked"} {
		if got := counts["pods "+result]; got != 1 {
			t.Errorf("%v pods are %s, want 1", got, result)
		}
	}
}

func TestTheVerdictIsCounted(t *testing.T) {
	server, _ := serveHandlers(t)
	f := &oracle.Facts{RestartPolicy: "Never", Containers: []oracle.Container{
		{Name: "main", Essential: true, State: oracle.Exited}, {Name: "proxy", State: oracle.Exited, Exit: oracle.Exit{Code: 1}}}}
	written, stored := f.Pod(corev1.PodFailed), f.Pod(corev1.PodRunning)
	written.Labels[api.Label], stored.Labels[api.Label] = "main", "main"
	for result, review := range map[string]*reviewBuilder{
		"succeeded": aStatus(written, stored),
		"kept":      aStatus(written, f.Pod(corev1.PodSucceeded)).with("oldObject", json.RawMessage(strings.Replace(manifest.Encode(stored), `"Running"`, `"Succeeded"`, 1))),
		"unchanged": aStatus(stored, stored),
	} {
		response := server.ask(t, StatusesPath, review)
		if patched := response.Patch != nil; !response.Allowed || patched != (result != "unchanged") {
			t.Errorf("%s: %+v", result, response)
		}
		if got := server.counts(t)["pods/status "+result]; got != 1 {
			t.Errorf("%v verdicts are %s, want 1", got, result)
		}
	}
	early := stored.DeepCopy()
	early.Status.Phase, early.Status.ContainerStatuses[1].State = corev1.PodFailed, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	byKubelet := aStatus(early, stored).with("userInfo", map[string]any{"groups": []string{"system:nodes"}})
	if server.ask(t, StatusesPath, byKubelet).Allowed || server.counts(t)["pods/status denied"] != 1 {
		t.Error("a kubelet reports Failed with a running container, and is not denied")
	}
	for name, review := range map[string]*reviewBuilder{
		"the pod itself":        aStatus(written, stored).with("subResource", ""),
		"another subresource":   aStatus(written, stored).with("subResource", "resize"),
		"a creation":            aStatus(written, stored).with("operation", "CREATE"),
		"nothing is stored yet": aStatus(written, stored).with("oldObject", nil),
	} {
		if response := server.ask(t, StatusesPath, review); !response.Allowed || response.Patch != nil {
			t.Errorf("%s: %+v", name, response)
		}
	}
}

// aStatus is the review of a write to a pod's status.
func aStatus(written, stored *corev1.Pod) *reviewBuilder {
	return reviewOf("", "v1", "pods", "Pod", manifest.Encode(written)).
		with("operation", "UPDATE").with("subResource", "status").with("oldObject", json.RawMessage(manifest.Encode(stored)))
}
