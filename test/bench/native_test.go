package main

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/webhook"
)

// asConverted is what the webhook makes of its pod.
func asConverted(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	raw, err := json.Marshal(kubeletPod(name, "node", byWebhook, "start", time.Second))
	if err != nil {
		t.Fatal(err)
	}
	body, err := reviewAround(name, raw)
	if err != nil {
		t.Fatal(err)
	}
	server := admissionServer()
	defer server.Close()
	answer, err := post(t.Context(), server.Client(), server.URL+webhook.PodsPath, body)
	if err != nil {
		t.Fatal(err)
	}
	return patched(t, raw, answer)
}

// patched is the pod after the patch of the webhook's answer, if there is one.
func patched(t *testing.T, raw, answer []byte) *corev1.Pod {
	t.Helper()
	operations, err := patchOf(answer)
	if err != nil {
		t.Fatal(err)
	}
	if operations == nil {
		operations = []byte("[]")
	}
	patch, err := jsonpatch.DecodePatch(operations)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = patch.Apply(raw); err != nil {
		t.Fatal(err)
	}
	p := &corev1.Pod{}
	if err := json.Unmarshal(raw, p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOnlyConvertedPodsAreMeasured(t *testing.T) {
	written := kubeletPod("native-1", "node", byKubelet, "start", time.Second)
	for sentence, c := range map[string]struct {
		pod   *corev1.Pod
		fails bool
	}{
		"a pod that was converted": {asConverted(t, "converted-1"), false},
		"one that was not":         {kubeletPod("converted-1", "node", byWebhook, "start", time.Second), true},
		"one whose container has lost something": {func() *corev1.Pod {
			p := asConverted(t, "converted-1")
			p.Spec.InitContainers[0].VolumeMounts = nil
			return p
		}(), true},
		"one whose main runs longer": {func() *corev1.Pod {
			p := asConverted(t, "converted-1")
			p.Spec.Containers = kubeletPod("converted-1", "node", byWebhook, "start", 2*time.Second).Spec.Containers[:1]
			return p
		}(), true},
	} {
		err := act{pods: map[stopper][]*corev1.Pod{byWebhook: {c.pod}, byKubelet: {written}}}.compare()
		if (err != nil) != c.fails {
			t.Errorf("%s: %v", sentence, err)
		}
	}
	tracked, untracked := kubeletPod("p", "node", byReaper, "start", time.Second), kubeletPod("q", "node", byLoop, "start", time.Second)
	tracked.Annotations[api.TrackedAnnotation] = "main"
	if err := (act{pods: map[stopper][]*corev1.Pod{byReaper: {tracked}, byLoop: {tracked}, byKubelet: {written}}}).compare(); err != nil {
		t.Errorf("where nothing is converted: %v", err)
	}
	for _, by := range []stopper{byReaper, byLoop} {
		if err := (act{pods: map[stopper][]*corev1.Pod{by: {tracked, untracked}}}).compare(); err == nil {
			t.Errorf("%s: a pod that is not tracked is measured", by)
		}
	}
}

func TestMainsEndOneByOne(t *testing.T) {
	const count = 10
	list := oneByOne(count)
	if slices.IsSorted(list) && slices.IsSorted(oneByOne(count)) { // by chance: once in ten thousand billion times
		t.Error("the pauses are in order")
	}
	slices.Sort(list)
	for i, pause := range list {
		if from := 2*time.Second + time.Duration(i)*apart; pause < from || pause > from+apart {
			t.Errorf("pause %d is %s", i, pause)
		}
	}
}
