package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
)

// The API server keeps a pod in etcd behind a mark, and in an envelope that names
// its type.
var (
	storedMark = []byte("k8s\x00")
	storedType = runtime.TypeMeta{APIVersion: "v1", Kind: "Pod"}
)

func decodeStored(value []byte) (*corev1.Pod, error) {
	raw, ok := bytes.CutPrefix(value, storedMark)
	if !ok {
		return nil, errors.New("etcd holds no pod in protobuf")
	}
	var envelope runtime.Unknown
	if err := envelope.Unmarshal(raw); err != nil {
		return nil, fmt.Errorf("decoding a pod of etcd: %w", err)
	}
	if envelope.TypeMeta != storedType {
		return nil, fmt.Errorf("etcd holds a %s %s, no pod", envelope.APIVersion, envelope.Kind)
	}
	var pod corev1.Pod
	if err := pod.Unmarshal(envelope.Raw); err != nil {
		return nil, fmt.Errorf("decoding a pod of etcd: %w", err)
	}
	return &pod, nil
}

func encodeStored(pod *corev1.Pod) ([]byte, error) {
	raw, err := pod.Marshal()
	if err != nil {
		return nil, err
	}
	value, err := (&runtime.Unknown{TypeMeta: storedType, Raw: raw}).Marshal()
	return append(bytes.Clone(storedMark), value...), err
}

// copyNamed is a copy that differs only in its name and what follows from it from
// the original.
func copyNamed(original *corev1.Pod, name string) *corev1.Pod {
	c := original.DeepCopy()
	c.Name, c.UID, c.CreationTimestamp = name, uuid.NewUUID(), metav1.Now()
	if len(c.OwnerReferences) > 0 {
		c.OwnerReferences = ownedBy(name)
	}
	return c
}

// storedKey is where the API server keeps a pod.
func storedKey(name string) []byte { return []byte("/registry/pods/" + namespace + "/" + name) }

func (c *cluster) stored(ctx context.Context, name string) (*corev1.Pod, error) {
	var answer struct{ Kvs []struct{ Value []byte } }
	if err := askEtcd(ctx, c.etcd, "kv/range", map[string]any{"key": storedKey(name)}, &answer); err != nil {
		return nil, err
	}
	if len(answer.Kvs) != 1 {
		return nil, fmt.Errorf("etcd has no pod %s", name)
	}
	return decodeStored(answer.Kvs[0].Value)
}

// store puts the pod where the API server reads it, whatever is there. Its version
// is what etcd gives it.
func (c *cluster) store(ctx context.Context, pod *corev1.Pod) error {
	value, err := encodeStored(pod)
	if err != nil {
		return err
	}
	return askEtcd(ctx, c.etcd, "kv/put", map[string]any{"key": storedKey(pod.Name), "value": value}, nil)
}

// forget removes the pod from where the API server keeps it.
func (c *cluster) forget(ctx context.Context, name string) error {
	return askEtcd(ctx, c.etcd, "kv/deleterange", map[string]any{"key": storedKey(name)}, nil)
}
