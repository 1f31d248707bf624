package reaper

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The kubelet's own bounds for a container that ends too often.
const (
	minBackOff   = 10 * time.Second
	maxBackOff   = 5 * time.Minute
	backOffReset = 2 * maxBackOff
)

// backOffs delays the stop of pods whose owner replaces them (restartPolicy Always).
// Otherwise an essential container with nothing to do causes a new pod every few
// seconds. The kubelet delays the restart of a container in the same way. The delay
// doubles with each replacement and is reset after ten minutes without a stop. Like
// the kubelet's, it is kept in memory.
type backOffs struct {
	mu     sync.Mutex
	owners map[types.UID]backOff
}

type backOff struct {
	last  time.Time // stop of a pod that was not a sibling of the one before
	delay time.Duration
}

func newBackOffs() *backOffs { return &backOffs{owners: map[types.UID]backOff{}} }

// of returns the delay for a pod, zero for most.
func (b *backOffs) of(pod *corev1.Pod, now time.Time) time.Duration {
	owner := replacingOwner(pod)
	if owner == "" {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.owners[owner].next(pod, now).delay
}

// stopped remembers the stop of a pod.
func (b *backOffs) stopped(pod *corev1.Pod, now time.Time) {
	owner := replacingOwner(pod)
	if owner == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.owners[owner] = b.owners[owner].next(pod, now)
	for uid, o := range b.owners {
		if o.isOver(now) {
			delete(b.owners, uid)
		}
	}
}

// next is the back-off after the pod's stop at now. A pod that is older than the
// last stop is a sibling of the pod stopped then, and has the same delay.
func (o backOff) next(pod *corev1.Pod, now time.Time) backOff {
	switch {
	case o.isOver(now):
		return backOff{last: now}
	case !pod.CreationTimestamp.Time.Before(o.last.Truncate(time.Second)):
		return backOff{last: now, delay: min(max(2*o.delay, minBackOff), maxBackOff)}
	default:
		return o
	}
}

func (o backOff) isOver(now time.Time) bool { return now.After(o.last.Add(o.delay + backOffReset)) }

// replacingOwner returns the UID of the controller that replaces the pod whatever
// its outcome. Empty: there is none.
func replacingOwner(pod *corev1.Pod) types.UID {
	owner := metav1.GetControllerOfNoCopy(pod)
	if owner == nil || pod.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		return ""
	}
	return owner.UID
}
