package reaper

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// notices remember which warning was emitted about a pod, so that each is emitted
// once. They are few, last as long as their cause, and live in memory: a new leader
// may emit one again.
//
// Only a reconcile emits and forgets, and each pod has one at a time. Events of
// pods call watch alone, so that the reconcile sees the end of every warning.
type notices struct {
	mu    sync.Mutex
	byPod map[types.NamespacedName]notice
}

// notice is the warning that was emitted about a pod, if any.
type notice struct {
	uid     types.UID
	warning Warning
}

func newNotices() *notices { return &notices{byPod: map[types.NamespacedName]notice{}} }

// watch has every further change of the pod reconciled.
func (n *notices) watch(pod types.NamespacedName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.byPod[pod]; !ok {
		n.byPod[pod] = notice{}
	}
}

func (n *notices) isWatched(pod types.NamespacedName) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.byPod[pod]
	return ok
}

// isNew reports whether the warning was not emitted about the pod yet, and remembers it.
func (n *notices) isNew(pod types.NamespacedName, uid types.UID, w Warning) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byPod[pod] == (notice{uid, w}) {
		return false
	}
	n.byPod[pod] = notice{uid, w}
	return true
}

// forget removes the pod's notice: nothing is wrong any more, or the pod is gone.
func (n *notices) forget(pod types.NamespacedName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.byPod, pod)
}

// count returns how many pods have a warning with this reason.
func (n *notices) count(reason string) (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, notice := range n.byPod {
		if notice.warning.Reason == reason {
			count++
		}
	}
	return count
}
