package reaper

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// notices are the warnings that are out about pods, so that each is told once.
// They are few, last no longer than what they warn of, and live in memory: a
// new leader may tell one again.
//
// Only reconciling tells and forgets, one at a time for each pod. Events of
// pods only watch, so that none that ends a warning is missed.
type notices struct {
	mu  sync.Mutex
	out map[types.NamespacedName]notice
}

// notice is what was told about a pod, if anything.
type notice struct {
	uid  types.UID
	told Warning
}

func newNotices() *notices { return &notices{out: map[types.NamespacedName]notice{}} }

// watch makes every further change of a pod worth a look.
func (n *notices) watch(pod types.NamespacedName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.out[pod]; !ok {
		n.out[pod] = notice{}
	}
}

func (n *notices) watched(pod types.NamespacedName) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.out[pod]
	return ok
}

// first reports whether the warning about a pod is news, and remembers it.
func (n *notices) first(pod types.NamespacedName, uid types.UID, w Warning) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.out[pod] == (notice{uid, w}) {
		return false
	}
	n.out[pod] = notice{uid, w}
	return true
}

// forget takes back what is out about a pod: nothing is wrong any more, or the
// pod is gone.
func (n *notices) forget(pod types.NamespacedName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.out, pod)
}

// count is how many pods a warning with this reason is out about.
func (n *notices) count(reason string) (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, notice := range n.out {
		if notice.told.Reason == reason {
			count++
		}
	}
	return count
}
