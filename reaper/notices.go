package reaper

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// notices are the warnings that are out about pods, so that each is told once.
// They are few, last no longer than what they warn of, and live in memory: a
// new leader may tell one again.
type notices struct {
	mu  sync.Mutex
	out map[types.UID]Warning
}

func newNotices() *notices { return &notices{out: map[types.UID]Warning{}} }

// first reports whether the warning is news, and remembers it.
func (n *notices) first(uid types.UID, w Warning) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.out[uid] == w {
		return false
	}
	n.out[uid] = w
	return true
}

// forget takes back what is out about a pod: nothing is wrong any more, or the
// pod is gone.
func (n *notices) forget(uid types.UID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.out, uid)
}

// count is how many pods a warning with this reason is out about.
func (n *notices) count(reason string) (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.out {
		if w.Reason == reason {
			count++
		}
	}
	return count
}
