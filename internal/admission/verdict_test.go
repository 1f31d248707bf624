package admission

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/manifest"
	"github.com/essential-containers/essential-containers/test/oracle"
)

// verdict is what the API server stores of a write to the status of this pod:
// the written pod with the webhook's patch applied.
func verdict(t manifest.T, written, stored *corev1.Pod) *corev1.Pod {
	t.Helper()
	before := manifest.Encode(written)
	v := decidePhase(decode(t, before), decode(t, manifest.Encode(stored)), essential.DefaultPolicies())
	if len(v.Denial) > 0 || len(v.Warnings) > 0 {
		t.Fatalf("the kubelet's write is answered with %+v", v)
	}
	if len(v.Patch) == 0 {
		return written
	}
	after := manifest.Apply(t, before, manifest.Encode(v.Patch))
	rest := func(text string) map[string]any {
		tree := manifest.Tree(t, text)
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
			written.Labels[api.Label] = f.Label()
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
// the stored phase remains.
func TestWhatIsStoredStandsWhateverTheContainersSay(t *testing.T) {
	oracle.Check(t, func(t *rapid.T) {
		f := oracle.Draw(t)
		written := f.Pod(corev1.PodFailed)
		written.Labels[api.Label] = f.Label()
		stored := written.DeepCopy()
		stored.Status = corev1.PodStatus{Phase: corev1.PodSucceeded}
		if rapid.Bool().Draw(t, "failed") {
			stored.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: api.FailedReason, Message: "m"}
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
		return func(stored, _ *corev1.Pod) { stored.Annotations[api.StoppedAnnotation] = record(phase, because) }
	}
	op := func(operation, field string, value any) jsonpatch.Operation {
		return jsonpatch.NewOperation(operation, "/status/"+field, value)
	}
	for sentence, tt := range map[string]struct {
		main, proxy int32
		reason      string // that the kubelet writes, with a message
		changes     []change
		want        Answer
	}{
		"main completed, and the sidecar failed": {main: 0, proxy: 1,
			want: Answer{Result: Succeeded, Patch: []jsonpatch.Operation{op("add", "phase", "Succeeded")}}},
		"the same, and the kubelet gives a reason of its own: something else ended the pod": {main: 0, proxy: 1, reason: "Evicted"},
		"stopped as succeeded": {main: 0, proxy: 143, reason: deadline, changes: []change{stopped("Succeeded", completedBy)},
			want: Answer{Result: Succeeded, Patch: []jsonpatch.Operation{op("add", "phase", "Succeeded"), op("remove", "reason", nil), op("remove", "message", nil)}}},
		"stopped as failed": {main: 3, proxy: 143, reason: deadline, changes: []change{stopped("Failed", because)},
			want: Answer{Result: Explained, Patch: []jsonpatch.Operation{op("add", "reason", "EssentialContainerFailed"), op("add", "message", because)}}},
		"failed by itself": {main: 3, proxy: 0},
		"the pod's own deadline": {main: 0, proxy: 143, reason: deadline, changes: []change{
			func(stored, _ *corev1.Pod) { stored.Spec.ActiveDeadlineSeconds = new(int64(0)) }}},
		"a delay is recorded, then the pod's own deadline passes": {main: 0, proxy: 143, reason: deadline, changes: []change{
			func(stored, _ *corev1.Pod) {
				stored.Spec.ActiveDeadlineSeconds = new(int64(0))
				stored.Annotations[api.DueAnnotation] = record("Succeeded", completedBy)
			}},
			want: Answer{Result: Succeeded, Patch: []jsonpatch.Operation{op("add", "phase", "Succeeded"), op("remove", "reason", nil), op("remove", "message", nil)}}},
		"repeated over Succeeded": {main: 0, proxy: 143, reason: deadline, changes: []change{
			stopped("Succeeded", completedBy), func(stored, _ *corev1.Pod) { stored.Status.Phase = corev1.PodSucceeded }},
			want: Answer{Result: Kept, Patch: []jsonpatch.Operation{op("add", "phase", "Succeeded"), op("remove", "reason", nil), op("remove", "message", nil)}}},
		"repeated over Failed with our reason": {main: 3, proxy: 143, reason: deadline, changes: []change{
			stopped("Failed", because), func(stored, _ *corev1.Pod) {
				stored.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "EssentialContainerFailed", Message: because}
			}},
			want: Answer{Result: Kept, Patch: []jsonpatch.Operation{op("add", "reason", "EssentialContainerFailed"), op("add", "message", because)}}},
		"repeated as it is stored": {main: 3, proxy: 143, reason: deadline, changes: []change{
			stopped("Failed", because), func(stored, written *corev1.Pod) {
				written.Status.Reason, written.Status.Message = "EssentialContainerFailed", because
				stored.Status = *written.Status.DeepCopy()
			}},
			want: Answer{Result: Kept}},
		"it was Failed before, without a reason of ours": {main: 0, proxy: 1, changes: []change{
			func(stored, _ *corev1.Pod) { stored.Status.Phase = corev1.PodFailed }}},
		"Succeeded is the kubelet's own": {main: 0, proxy: 0, changes: []change{func(_, written *corev1.Pod) { written.Status.Phase = corev1.PodSucceeded }}},
		"a pod that runs":                {main: 0, proxy: 1, changes: []change{func(_, written *corev1.Pod) { written.Status.Phase = corev1.PodRunning }}},
		"a pod that is not tracked":      {main: 0, proxy: 1, changes: []change{func(stored, _ *corev1.Pod) { delete(stored.Annotations, api.TrackedAnnotation) }}},
		"a pod that is not tracked, repeated over Succeeded": {main: 0, proxy: 1, changes: []change{func(stored, _ *corev1.Pod) {
			delete(stored.Annotations, api.TrackedAnnotation)
			stored.Status.Phase = corev1.PodSucceeded
		}}},
		"a pod whose label the user removed": {main: 0, proxy: 1, changes: []change{func(stored, _ *corev1.Pod) { stored.Labels = nil }}},
		"annotations of the write do not count": {main: 0, proxy: 1, changes: []change{func(stored, written *corev1.Pod) {
			delete(stored.Annotations, api.TrackedAnnotation)
			written.Annotations = map[string]string{api.TrackedAnnotation: "main", api.StoppedAnnotation: record("Succeeded", "x")}
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
			stored.Labels[api.Label] = "main"
			written := stored.DeepCopy()
			written.Status.Phase, written.Status.Reason = corev1.PodFailed, tt.reason
			written.Status.ContainerStatuses = []corev1.ContainerStatus{exited("main", tt.main), exited("proxy", tt.proxy)}
			if tt.reason != "" {
				written.Status.Message = "m"
			}
			for _, change := range tt.changes {
				change(stored, written)
			}
			got := decidePhase(decode(t, manifest.Encode(written)), decode(t, manifest.Encode(stored)), essential.DefaultPolicies())
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}
