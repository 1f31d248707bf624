package reaper

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// full is a pod of which everything that the cache keeps is set, and more.
func full() *corev1.Pod {
	pod := aPod().ownedBy("Job", "nightly").deleting().restarted("main", 1).exited("proxy", 143, "Error").nativeSidecar("setup").
		stopped(succeeded, now).due(succeeded, now).conditionOfOld(corev1.ConditionTrue, succeeded, now).phase(succeeded).annotated(retentionKey, "10m").annotated(helmHook, "test")
	pod.CreationTimestamp, pod.Status.StartTime = metav1.NewTime(now), new(metav1.NewTime(now))
	pod.Status.Reason = "DeadlineExceeded"
	pod.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "debug", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(now)}}}}
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady},
		corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "PreemptionByScheduler", LastTransitionTime: metav1.NewTime(now), LastProbeTime: metav1.NewTime(now)},
		corev1.PodCondition{Type: corev1.AllContainersRestarting, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now), LastProbeTime: metav1.NewTime(now)})
	pod.Spec.InitContainers[0].Image = "setup:1"
	pod.Spec.Containers[1] = corev1.Container{Name: "proxy", Image: "proxy:1", RestartPolicy: new(corev1.ContainerRestartPolicyNever),
		RestartPolicyRules: []corev1.ContainerRestartRule{{Action: corev1.ContainerRestartRuleActionRestart}}}
	return pod.Pod
}

// trimmed is what the cache keeps of full.
func trimmed() *corev1.Pod {
	runs := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	whole := full()
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "jobs", Name: "nightly-x7k2p", UID: "uid-1", ResourceVersion: "41", CreationTimestamp: metav1.NewTime(now), DeletionTimestamp: &metav1.Time{Time: now},
			OwnerReferences: whole.OwnerReferences[1:],
			Annotations: map[string]string{
				api.TrackedAnnotation: "main", retentionKey: "10m", helmHook: "test",
				api.DueAnnotation: record(succeeded, now), api.StoppedAnnotation: record(succeeded, now),
			},
		},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: new(int64(30)), ActiveDeadlineSeconds: new(int64(1)),
			Containers: []corev1.Container{{Name: "proxy", RestartPolicy: whole.Spec.Containers[1].RestartPolicy, RestartPolicyRules: whole.Spec.Containers[1].RestartPolicyRules}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodSucceeded, StartTime: new(metav1.NewTime(now)),
			ContainerStatuses: []corev1.ContainerStatus{
				{Name: "main", State: runs, LastTerminationState: whole.Status.ContainerStatuses[0].LastTerminationState},
				{Name: "proxy", State: whole.Status.ContainerStatuses[1].State},
			},
			InitContainerStatuses:      []corev1.ContainerStatus{{Name: "setup", State: runs}},
			EphemeralContainerStatuses: []corev1.ContainerStatus{{Name: "debug", State: runs}},
			Conditions: []corev1.PodCondition{
				{Type: essential.OldStoppedCondition, Status: corev1.ConditionTrue, Reason: completedReason, Message: recorded, LastTransitionTime: metav1.NewTime(now)},
				{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "PreemptionByScheduler", LastTransitionTime: metav1.NewTime(now)},
				{Type: corev1.AllContainersRestarting, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now)},
			},
		},
	}
}

func TestTheCacheKeepsWhatIsReadAndNothingElse(t *testing.T) {
	untracked, trimmedUntracked := podBuilder{full()}.untracked().mirror().Pod, podBuilder{trimmed()}.untracked().mirror().Pod
	trimmedUntracked.Labels = map[string]string{api.Label: "main"}
	trimmedUntracked.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: untracked.Annotations[corev1.MirrorPodAnnotationKey]}
	trimmedUntracked.Spec.InitContainers = []corev1.Container{{Name: "setup"}}
	trimmedUntracked.Spec.Containers = []corev1.Container{{Name: "main"}, {Name: "proxy"}}
	relabelled, trimmedRelabelled := podBuilder{full()}.labelled("proxy").Pod, trimmed()
	trimmedRelabelled.Labels = map[string]string{api.Label: "proxy"}
	marked := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{api.TrackedAnnotation: "main"}}}
	namespace := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{Kind: "Namespace", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Name: "jobs", UID: "uid-2", ResourceVersion: "7", Labels: map[string]string{"a": "b"}},
	}
	trimmedNamespace := namespace.DeepCopy()
	trimmedNamespace.Labels = nil
	waits := aPod().nativeSidecar("setup")
	waits.Status.Conditions = []corev1.PodCondition{{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}}
	trimmedWaits := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "jobs", Name: "nightly-x7k2p", UID: "uid-1", ResourceVersion: "41",
			Annotations: map[string]string{api.TrackedAnnotation: "main"},
		},
		Spec:   corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: new(int64(30))},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	tombstone := toolscache.DeletedFinalStateUnknown{Key: "jobs/x"}
	for sentence, c := range map[string]struct {
		transform   toolscache.TransformFunc
		given, want any
	}{
		"a tracked pod":                         {new(trimmer).pod, full(), trimmed()},
		"a pod of which no container has ended": {new(trimmer).pod, waits.Pod, trimmedWaits},
		"a pod that may be adopted":             {new(trimmer).pod, untracked, trimmedUntracked},
		"a pod whose label was changed":         {new(trimmer).pod, relabelled, trimmedRelabelled},
		"a pod that has only the mark":          {new(trimmer).pod, marked, marked.DeepCopy()},
		"a namespace":                           {trimNamespace, namespace, trimmedNamespace},
		"what is left of a missed deletion":     {new(trimmer).pod, tombstone, tombstone},
		"the same of a namespace's, untouched":  {trimNamespace, tombstone, tombstone},
	} {
		got, err := c.transform(c.given)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", sentence, diff)
		}
	}
}

// However large a pod is, little of it is kept, and it is judged all the same.
func TestLittleIsKeptOfALargePod(t *testing.T) {
	const many = 10_000
	long := strings.Repeat("x", 100_000)
	pod := aPod().untracked().exited("proxy", 1, long)
	pod.Labels[long] = long
	for i := range many {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: fmt.Sprint("c", i), Image: long, RestartPolicyRules: make([]corev1.ContainerRestartRule, 20)})
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Name: fmt.Sprint("i", i), Image: long})
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Reason: long, Message: long})
	}
	for label, want := range map[string]Decision{
		"main_c9999": {Action: Adopt, Tracked: "main,c9999"},
		"i9999":      {Warning: Warning{Reason: invalidLabelReason}},
	} {
		trimmed, err := new(trimmer).pod(pod.labelled(label).Pod)
		if err != nil {
			t.Fatal(err)
		}
		if size := trimmed.(*corev1.Pod).Size(); size > 4<<10 {
			t.Errorf("%d bytes are kept", size)
		}
		got := decide(trimmed.(*corev1.Pod), true, 0, adopting, now)
		if got.Action != want.Action || got.Tracked != want.Tracked || got.Warning.Reason != want.Warning.Reason {
			t.Errorf("%s: got %+v, want %+v", label, got, want)
		}
	}
}

// client-go transforms the objects of a list once more when it hands them on.
func TestTrimmingAgainChangesNothing(t *testing.T) {
	adoptable := podBuilder{full()}.untracked()
	for sentence, pod := range map[string]*corev1.Pod{"all is set": full(), "it waits": aPod().Pod, "it may be adopted": adoptable.Pod} {
		var trimmer trimmer
		once, err := trimmer.pod(pod)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := trimmer.pod(once.(*corev1.Pod).DeepCopy())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(once, twice); diff != "" {
			t.Errorf("%s (-once +twice):\n%s", sentence, diff)
		}
	}
	once, _ := new(trimmer).pod(aPod().Pod)
	if twice, _ := new(trimmer).pod(once); twice != once {
		t.Error("a pod that waits is copied again")
	}
}

func TestTheCacheHoldsWhatTheAPIServerSelects(t *testing.T) {
	optedIn := labels.SelectorFromSet(labels.Set{"team": "a"})
	options, err := cacheOptions(optedIn)
	if err != nil {
		t.Fatal(err)
	}
	if !options.ReaderFailOnMissingInformer {
		t.Error("any read starts a list of its own")
	}
	selectors := map[string]string{}
	for object, by := range options.ByObject {
		selectors[object.GetObjectKind().GroupVersionKind().Kind] = by.Label.String()
		if by.Transform == nil {
			t.Errorf("a whole %T is kept", object)
		}
	}
	want := map[string]string{"": "essential-containers", "Namespace": "team=a"} // a Go type has no kind
	if diff := cmp.Diff(want, selectors); diff != "" {
		t.Errorf("selectors (-want +got):\n%s", diff)
	}
}
