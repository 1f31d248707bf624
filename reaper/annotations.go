package reaper

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// maxAnnotationSets bounds what is remembered: names and policies are as many as
// there are kinds of workloads, not as there are pods.
const maxAnnotationSets = 1000

// annotationSets are the annotations that cached pods have in common. A map of
// one entry takes more memory than all else that is kept of a waiting pod's
// metadata, and most pods have the same. Its zero value is ready.
type annotationSets struct {
	mu    sync.Mutex
	known map[string]map[string]string
}

// trim returns those of the annotations that the reaper reads, in a map that
// nobody may change.
func (s *annotationSets) trim(annotations map[string]string) map[string]string {
	var buffer [8]string
	keys := buffer[:0]
	for key := range annotations {
		if key == corev1.MirrorPodAnnotationKey || key == helmHook || strings.HasPrefix(key, essential.AnnotationPrefix) {
			keys = append(keys, key)
		}
	}
	switch {
	case len(keys) == 0:
		return nil
	case annotations[essential.StoppedAnnotation] != "", annotations[essential.DueAnnotation] != "": // a time: no two pods share that
		return pick(annotations, keys)
	}
	slices.Sort(keys)
	var id []byte
	for _, key := range keys {
		for _, text := range [...]string{key, annotations[key]} {
			id = append(binary.AppendUvarint(id, uint64(len(text))), text...)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if set, ok := s.known[string(id)]; ok {
		return set
	}
	if s.known == nil || len(s.known) >= maxAnnotationSets {
		s.known = map[string]map[string]string{}
	}
	set := pick(annotations, keys)
	s.known[string(id)] = set
	return set
}

func pick(from map[string]string, keys []string) map[string]string {
	picked := make(map[string]string, len(keys))
	for _, key := range keys {
		picked[key] = from[key]
	}
	return picked
}
