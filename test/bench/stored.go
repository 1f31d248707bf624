package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
)

// stored is a pod as the API server keeps it in etcd: behind a mark, and in an
// envelope that tells its type.
type stored struct {
	envelope runtime.Unknown
	pod      corev1.Pod
}

var storedMark = []byte("k8s\x00")

func decodeStored(value []byte) (*stored, error) {
	s := &stored{}
	raw, ok := bytes.CutPrefix(value, storedMark)
	if !ok {
		return nil, errors.New("etcd holds no pod in protobuf")
	}
	if err := s.envelope.Unmarshal(raw); err != nil {
		return nil, fmt.Errorf("decoding a pod of etcd: %w", err)
	}
	if err := s.pod.Unmarshal(s.envelope.Raw); err != nil {
		return nil, fmt.Errorf("decoding a pod of etcd: %w", err)
	}
	return s, nil
}

func (s *stored) encode() ([]byte, error) {
	raw, err := s.pod.Marshal()
	if err != nil {
		return nil, err
	}
	envelope := s.envelope
	envelope.Raw = raw
	value, err := envelope.Marshal()
	return append(bytes.Clone(storedMark), value...), err
}

// named is a copy that nothing but its name and what follows from it tells from
// the original.
func (s *stored) named(name string) *stored {
	c := &stored{envelope: s.envelope}
	s.pod.DeepCopyInto(&c.pod)
	c.pod.Name, c.pod.UID, c.pod.CreationTimestamp = name, uuid.NewUUID(), metav1.Now()
	if len(c.pod.OwnerReferences) > 0 {
		c.pod.OwnerReferences = ownedBy(name)
	}
	return c
}

// storedKey is where the API server keeps a pod.
func storedKey(name string) []byte { return []byte("/registry/pods/" + namespace + "/" + name) }

func (c *cluster) stored(ctx context.Context, name string) (*stored, error) {
	var answer struct{ Kvs []struct{ Value []byte } }
	if err := askEtcd(ctx, c.etcd, "kv/range", map[string]any{"key": storedKey(name)}, &answer); err != nil {
		return nil, err
	}
	if len(answer.Kvs) != 1 {
		return nil, fmt.Errorf("etcd has no pod %s", name)
	}
	return decodeStored(answer.Kvs[0].Value)
}

// store returns the pod as the API server will have it.
func (c *cluster) store(ctx context.Context, s *stored) (*corev1.Pod, error) {
	value, err := s.encode()
	if err != nil {
		return nil, err
	}
	var answer struct{ Header struct{ Revision string } }
	if err := askEtcd(ctx, c.etcd, "kv/put", map[string]any{"key": storedKey(s.pod.Name), "value": value}, &answer); err != nil {
		return nil, err
	}
	if _, err := strconv.ParseUint(answer.Header.Revision, 10, 64); err != nil {
		return nil, fmt.Errorf("storing a pod: etcd answers with revision %q", answer.Header.Revision)
	}
	s.pod.ResourceVersion = answer.Header.Revision
	return &s.pod, nil
}
