package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/essential-containers/essential-containers/test/kube"
)

// etcdAddress is where etcd listens in the network of the cluster.
const etcdAddress = "127.0.0.1:2379"

// etcdClient has a connection for each writer.
func etcdClient(local *kube.Cluster) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: local.Dial, MaxIdleConnsPerHost: writers}}
}

// clear deletes all pods, and most of their past from etcd: every measurement
// begins with as much of it. The API server does that once in five minutes, in
// which these writes could fill etcd's two GiB.
func (b *bench) clear(ctx context.Context) error {
	// Nothing is forgotten that the API server may not have read yet: not the
	// deletions that come now.
	var now struct{ Header struct{ Revision string } }
	if err := askEtcd(ctx, b.cluster.etcd, "maintenance/status", map[string]any{}, &now); err != nil {
		return err
	}
	if err := b.cluster.clear(ctx); err != nil {
		return err
	}
	err := askEtcd(ctx, b.cluster.etcd, "kv/compaction", map[string]any{"revision": now.Header.Revision, "physical": true}, nil)
	if errors.Is(err, errForgotten) {
		return nil
	}
	return err
}

// errForgotten says that so much has been forgotten already.
var errForgotten = errors.New("compacted already")

// askEtcd calls the JSON form of etcd's API.
func askEtcd(ctx context.Context, client *http.Client, what string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+etcdAddress+"/v3/"+what, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("asking etcd for %s: %w", what, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("asking etcd for %s: %w", what, err)
	}
	if bytes.Contains(content, []byte("has been compacted")) {
		return errForgotten
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("asking etcd for %s: %s %s", what, response.Status, content)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(content, answer)
}
