package webhook

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/internal/oracle"
)

// verdict is what the API server stores of a write to the status of this pod:
// the written pod with the webhook's patch applied.
func verdict(t test, written, stored *corev1.Pod) *corev1.Pod {
	t.Helper()
	before := encode(written)
	v := decidePhase(decodePod(t, before), decodePod(t, encode(stored)), essential.DefaultPolicies())
	if len(v.denial) > 0 || len(v.warnings) > 0 {
		t.Fatalf("the kubelet's write is answered with %+v", v)
	}
	if len(v.operations) == 0 {
		return written
	}
	after := apply(t, before, encode(v.operations))
	rest := func(text string) map[string]any {
		tree := tree(t, text)
		for _, field := range []string{"phase", "reason", "message"} {
			delete(tree["status"].(map[string]any), field)
		}
		return tree
	}
	if diff := cmp.Diff(rest(before), rest(after)); diff != "" {
		t.Fatalf("the patch touches another field (-before +after):\n%s", diff)
	}
	var pod corev1.Pod
	if err := json.Unmarshal([]byte(after), &pod); err != nil {
		t.Fatal(err)
	}
	return &pod
}

func phaseOf(pod *corev1.Pod) oracle.Phase {
	return oracle.Phase{Phase: string(pod.Status.Phase), Reason: pod.Status.Reason, Message: pod.Status.Message}
}

// Whatever happened to a pod, and whatever the kubelet writes over whatever is
// stored, the phase is the one of the design; a second call changes nothing more;
// and a kubelet that repeats its write changes nothing of what is stored.
func TestTheVerdictIsTheOracles(t *testing.T) {
	phases := []corev1.PodPhase{corev1.PodPending, corev1.PodRunning, corev1.PodRunning, corev1.PodRunning, corev1.PodSucceeded, corev1.PodFailed}
	messages := rapid.SampledFrom([]string{"", "Pod was active on the node longer than the specified deadline"})
	oracle.Check(t, func(t *rapid.T) {
		f := oracle.Draw(t)
		written := f.Pod(rapid.SampledFrom([]corev1.PodPhase{corev1.PodRunning, corev1.PodSucceeded, corev1.PodFailed, corev1.PodFailed, corev1.PodFailed}).Draw(t, "written phase"))
		written.Status.Message = messages.Draw(t, "written message")
		labelled := rapid.IntRange(0, 4).Draw(t, "labelled") > 0
		if labelled {
			written.Labels[essential.Label] = f.Label()
		}
		stored := written.DeepCopy()
		stored.Status = corev1.PodStatus{Phase: rapid.SampledFrom(phases).Draw(t, "stored phase")}
		if stored.Status.Phase == corev1.PodFailed {
			stored.Status.Reason = rapid.SampledFrom([]string{"", "DeadlineExceeded", "Evicted", "EssentialContainerFailed"}).Draw(t, "stored reason")
		}
		stored.Status.Message = messages.Draw(t, "stored message")

		want, by := f.Verdict(phaseOf(stored), phaseOf(written), labelled)
		after := verdict(t, written, stored)
		got := phaseOf(after)
		if len(by) > 0 && slices.Contains(by, got.Message) {
			want.Message = got.Message
		}
		if got != want {
			t.Fatalf("%+v over %+v becomes %+v, want %+v (%q)", phaseOf(written), phaseOf(stored), got, want, by)
		}
		if again := phaseOf(verdict(t, after, stored)); again != got {
			t.Fatalf("in the second call, %+v becomes %+v", got, again)
		}
		decided := got.Phase == "Succeeded" || got.Reason == "EssentialContainerFailed"
		if written.Status.Phase == corev1.PodFailed && decided && labelled {
			if repeated := phaseOf(verdict(t, written, after)); repeated != got {
				t.Fatalf("the repeated write makes %+v of %+v", repeated, got)
			}
		}
	})
}

// The kubelet's view of the containers may change while it repeats its write:
// what is stored stands.
func TestWhatIsStoredStandsWhateverTheContainersSay(t *testing.T) {
	oracle.Check(t, func(t *rapid.T) {
		f := oracle.Draw(t)
		written := f.Pod(corev1.PodFailed)
		written.Labels[essential.Label] = f.Label()
		stored := written.DeepCopy()
		stored.Status = corev1.PodStatus{Phase: corev1.PodSucceeded}
		if rapid.Bool().Draw(t, "failed") {
			stored.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: essential.FailedReason, Message: "m"}
		}
		if got := phaseOf(verdict(t, written, stored)); got != phaseOf(stored) {
			t.Fatalf("%+v becomes %+v", phaseOf(stored), got)
		}
	})
}

func TestVerdicts(t *testing.T) {
	const (
		deadline    = "DeadlineExceeded"
		because     = `Essential container "main" failed with exit code 3`
		completedBy = `Essential container "main" completed with exit code 0`
	)
	exited := func(name string, code int32) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}
	}
	record := func(phase corev1.PodPhase, because string) string {
		return essential.Record{At: oracle.Start, Phase: phase, Because: because}.String()
	}
	type change = func(stored, written *corev1.Pod)
	stopped := func(phase corev1.PodPhase, because string) change {
		return func(stored, _ *corev1.Pod) { stored.Annotations[essential.StoppedAnnotation] = record(phase, because) }
	}
	op := func(operation, field string, value any) jsonpatch.Operation {
		return jsonpatch.NewOperation(operation, "/status/"+field, value)
	}
	for sentence, tt := range map[string]struct {
		main, proxy int32
		reason      string // that the kubelet writes, with a message
		changes     []change
		want        answer
	}{
		"main completed, and the sidecar failed": {main: 0, proxy: 1,
			want: answer{result: succeeded, operations: []jsonpatch.Operation{op("add", "phase", "Succeeded")}}},
		"the same, and the kubelet gives a reason of its own: something else ended the pod": {main: 0, proxy: 1, reason: "Evicted"},
		"stopped as succeeded": {main: 0, proxy: 143, reason: deadline, changes: []change{stopped("Succeeded", completedBy)},
			want: answer{result: succeeded, operations: []jsonpatch.Operation{op("add", "phase", "Succeeded"), op("remove", "reason", nil), op("remove", "message", nil)}}},
		"stopped as failed": {main: 3, proxy: 143, reason: deadline, changes: []change{stopped("Failed", because)},
			want: answer{result: explained, operations: []jsonpatch.Operation{op("add", "reason", "EssentialContainerFailed"), op("add", "message", because)}}},
		"failed by itself": {main: 3, proxy: 0},
		"the pod's own deadline": {main: 0, proxy: 143, reason: deadline, changes: []change{
			func(stored, _ *corev1.Pod) { stored.Spec.ActiveDeadlineSeconds = new(int64(0)) }}},
		"a delay is recorded, then the pod's own deadline passes": {main: 0, proxy: 143, reason: deadline, changes: []change{
			func(stored, _ *corev1.Pod) {
				stored.Spec.ActiveDeadlineSeconds = new(int64(0))
				stored.Annotations[essential.DueAnnotation] = record("Succeeded", completedBy)
			}},
			want: answer{result: succeeded, operations: []jsonpatch.Operation{op("add", "phase", "Succeeded"), op("remove", "reason", nil), op("remove", "message", nil)}}},
		"repeated over Succeeded": {main: 0, proxy: 143, reason: deadline, changes: []change{
			stopped("Succeeded", completedBy), func(stored, _ *corev1.Pod) { stored.Status.Phase = corev1.PodSucceeded }},
			want: answer{result: kept, operations: []jsonpatch.Operation{op("add", "phase", "Succeeded"), op("remove", "reason", nil), op("remove", "message", nil)}}},
		"repeated over Failed with our reason": {main: 3, proxy: 143, reason: deadline, changes: []change{
			stopped("Failed", because), func(stored, _ *corev1.Pod) {
				stored.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "EssentialContainerFailed", Message: because}
			}},
			want: answer{result: kept, operations: []jsonpatch.Operation{op("add", "reason", "EssentialContainerFailed"), op("add", "message", because)}}},
		"repeated as it is stored": {main: 3, proxy: 143, reason: deadline, changes: []change{
			stopped("Failed", because), func(stored, written *corev1.Pod) {
				written.Status.Reason, written.Status.Message = "EssentialContainerFailed", because
				stored.Status = *written.Status.DeepCopy()
			}},
			want: answer{result: kept}},
		"it was Failed before, without a reason of ours": {main: 0, proxy: 1, changes: []change{
			func(stored, _ *corev1.Pod) { stored.Status.Phase = corev1.PodFailed }}},
		"Succeeded is the kubelet's own": {main: 0, proxy: 0, changes: []change{func(_, written *corev1.Pod) { written.Status.Phase = corev1.PodSucceeded }}},
		"a pod that runs":                {main: 0, proxy: 1, changes: []change{func(_, written *corev1.Pod) { written.Status.Phase = corev1.PodRunning }}},
		"a pod that is not tracked":      {main: 0, proxy: 1, changes: []change{func(stored, _ *corev1.Pod) { delete(stored.Annotations, essential.TrackedAnnotation) }}},
		"a pod that is not tracked, repeated over Succeeded": {main: 0, proxy: 1, changes: []change{func(stored, _ *corev1.Pod) {
			delete(stored.Annotations, essential.TrackedAnnotation)
			stored.Status.Phase = corev1.PodSucceeded
		}}},
		"a pod whose label the user removed": {main: 0, proxy: 1, changes: []change{func(stored, _ *corev1.Pod) { stored.Labels = nil }}},
		"annotations of the write do not count": {main: 0, proxy: 1, changes: []change{func(stored, written *corev1.Pod) {
			delete(stored.Annotations, essential.TrackedAnnotation)
			written.Annotations = map[string]string{essential.TrackedAnnotation: "main", essential.StoppedAnnotation: record("Succeeded", "x")}
		}}},
		"a pod that was stopped, whose label the user removed": {main: 0, proxy: 143, reason: deadline, changes: []change{
			stopped("Succeeded", completedBy), func(stored, _ *corev1.Pod) { stored.Labels = nil }}},
		"a deletion that began before main ended": {main: 0, proxy: 143, changes: []change{
			func(stored, _ *corev1.Pod) { stored.DeletionTimestamp = &stored.CreationTimestamp }}},
		"Never, and the kubelet has run main again": {main: 1, proxy: 0, changes: []change{
			func(_, written *corev1.Pod) {
				written.Status.ContainerStatuses[0].LastTerminationState = exited("main", 0).State
			}}},
	} {
		t.Run(sentence, func(t *testing.T) {
			f := &oracle.Facts{RestartPolicy: "Never", Stop: true, Containers: []oracle.Container{{Name: "main", Essential: true}, {Name: "proxy"}}}
			stored := f.Pod(corev1.PodRunning)
			stored.Labels[essential.Label] = "main"
			written := stored.DeepCopy()
			written.Status.Phase, written.Status.Reason = corev1.PodFailed, tt.reason
			written.Status.ContainerStatuses = []corev1.ContainerStatus{exited("main", tt.main), exited("proxy", tt.proxy)}
			if tt.reason != "" {
				written.Status.Message = "m"
			}
			for _, change := range tt.changes {
				change(stored, written)
			}
			got := decidePhase(decodePod(t, encode(written)), decodePod(t, encode(stored)), essential.DefaultPolicies())
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(answer{})); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheVerdictIsCounted(t *testing.T) {
	server, _ := serveHandlers(t)
	f := &oracle.Facts{RestartPolicy: "Never", Containers: []oracle.Container{
		{Name: "main", Essential: true, State: oracle.Exited}, {Name: "proxy", State: oracle.Exited, Exit: oracle.Exit{Code: 1}}}}
	written, stored := f.Pod(corev1.PodFailed), f.Pod(corev1.PodRunning)
	written.Labels[essential.Label], stored.Labels[essential.Label] = "main", "main"
	for result, review := range map[string]*reviewBuilder{
		"succeeded": aStatus(written, stored),
		"kept":      aStatus(written, f.Pod(corev1.PodSucceeded)).with("oldObject", json.RawMessage(strings.Replace(encode(stored), `"Running"`, `"Succeeded"`, 1))),
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
	return reviewOf("", "v1", "pods", "Pod", encode(written)).
		with("operation", "UPDATE").with("subResource", "status").with("oldObject", json.RawMessage(encode(stored)))
}
