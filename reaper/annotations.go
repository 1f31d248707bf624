package reaper

import (
	"encoding/binary"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// maxAnnotationSets and maxAnnotationSet (in bytes) bound what remains in memory after
// the pods are gone. Names and policies are short, and there are as many sets as kinds
// of workloads, not as pods.
const (
	maxAnnotationSets = 1000
	maxAnnotationSet  = 512
)

// readAnnotations are those of a tracked pod that the reaper reads.
var readAnnotations = slices.Concat(essential.OwnAnnotations, essential.PolicyAnnotations, []string{corev1.MirrorPodAnnotationKey, helmHook})

// annotationSets shares equal annotations among cached pods. A map with one entry
// takes more memory than the rest of a waiting pod's metadata, and most pods have the
// same annotations. Its zero value is ready to use.
type annotationSets struct {
	mu    sync.Mutex
	known map[string]map[string]string
}

// trim returns those of the annotations that the reaper reads, in a map that
// must not be changed. The reaper reads only one annotation of a pod that is not
// tracked: whether the pod is static.
func (s *annotationSets) trim(annotations map[string]string) map[string]string {
	keys := readAnnotations
	if annotations[api.TrackedAnnotation] == "" {
		keys = []string{corev1.MirrorPodAnnotationKey}
	}
	var buffer [10]annotation
	kept := buffer[:0]
	var id []byte
	for _, key := range keys {
		value, ok := annotations[key]
		if !ok {
			continue
		}
		value = essential.Shorten(value, maxText)
		kept = append(kept, annotation{key, value})
		for _, text := range [...]string{key, value} {
			id = append(binary.AppendUvarint(id, uint64(len(text))), text...)
		}
	}
	switch {
	case len(kept) == 0:
		return nil
	case len(id) > maxAnnotationSet,
		annotations[api.StoppedAnnotation] != "", annotations[api.DueAnnotation] != "": // a time: no two pods share that
		return setOf(kept)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.known[string(id)]; ok {
		return known
	}
	if s.known == nil || len(s.known) >= maxAnnotationSets {
		s.known = map[string]map[string]string{}
	}
	set := setOf(kept)
	s.known[string(id)] = set
	return set
}

type annotation struct{ key, value string }

func setOf(annotations []annotation) map[string]string {
	set := make(map[string]string, len(annotations))
	for _, a := range annotations {
		set[a.key] = a.value
	}
	return set
}
