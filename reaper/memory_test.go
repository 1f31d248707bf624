package reaper

import (
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
)

// maxHeapPerPod is what the chart promises of a pod that waits, store and index
// included.
const maxHeapPerPod = 2 << 10

func TestAWaitingPodTakesLittleMemory(t *testing.T) {
	const pods = 4000
	original, err := aPod().ownedBy("Job", "nightly").nativeSidecar("setup").Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var trimmer trimmer
	// Both as the informer of controller-runtime has them.
	store := toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, toolscache.Indexers{toolscache.NamespaceIndex: toolscache.MetaNamespaceIndexFunc})
	before := heap()
	for i := range pods {
		var pod corev1.Pod // each has texts of its own, as from the wire
		if err := pod.Unmarshal(original); err != nil {
			t.Fatal(err)
		}
		pod.Name = fmt.Sprintf("a-job-with-a-rather-long-name-%05d-x7k2p", i)
		pod.UID = types.UID(fmt.Sprintf("00000000-0000-0000-0000-%012d", i))
		pod.OwnerReferences[1].UID = types.UID(fmt.Sprintf("10000000-0000-0000-0000-%012d", i))
		trimmed, err := trimmer.pod(&pod)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Add(trimmed); err != nil {
			t.Fatal(err)
		}
	}
	perPod := (heap() - before) / pods
	t.Logf("%d bytes for each pod", perPod)
	if perPod > maxHeapPerPod {
		t.Errorf("a pod takes %d bytes, more than %d", perPod, maxHeapPerPod)
	}
	runtime.KeepAlive(store)
}

// heap is what is live, in bytes.
func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
