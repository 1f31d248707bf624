// Package kube is what the demo and the end-to-end tests share: a connection to
// a real cluster, the chart's installation, workloads with a sidecar that never
// ends by itself, and the containers' own logs.
package kube

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/test/timelimit"
)

// Cluster is a connection to a cluster that is up.
type Cluster struct {
	client.WithWatch
	Clientset  kubernetes.Interface // for what the other client lacks: logs, raw paths
	Helm       string               // the helm program
	Kubeconfig string               // its path
}

// Connect connects to the cluster of the kubeconfig at path.
func Connect(path, helm string) (*Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %s: %w", path, err)
	}
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, cmapi.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster of %s: %w", path, err)
	}
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	if _, err := clientset.Discovery().ServerVersion(); err != nil {
		return nil, fmt.Errorf("asking the API server of %s for its version: %w", path, err)
	}
	return &Cluster{WithWatch: c, Clientset: clientset, Helm: helm, Kubeconfig: path}, nil
}

// RunHelm runs helm against the cluster.
func (c *Cluster) RunHelm(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, c.Helm, append(args, "--kubeconfig", c.Kubeconfig)...)
	// Killed at once, helm would leave a release that says that it is still at work and refuses every later command.
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 10 * time.Second
	output, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("helm %s: %w\n%s", args[0], err, output)
	}
	return string(output), nil
}

// CreateNamespace makes a namespace, opted in or not.
func (c *Cluster) CreateNamespace(ctx context.Context, name string, optedIn bool) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if optedIn {
		namespace.Labels = map[string]string{api.Label: api.NamespaceEnabled}
	}
	if err := c.Create(ctx, namespace); err != nil {
		return fmt.Errorf("creating namespace %s: %w", name, err)
	}
	// Pods are refused until their service account is there.
	return Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
		err := c.Get(ctx, client.ObjectKey{Namespace: name, Name: "default"}, &corev1.ServiceAccount{})
		return err == nil, fmt.Sprintf("service account default of namespace %s: %v", name, err)
	})
}

// DeleteNamespace removes a namespace and waits until it is gone.
func (c *Cluster) DeleteNamespace(ctx context.Context, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := c.Delete(ctx, namespace); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting namespace %s: %w", name, err)
	}
	return c.AwaitGone(ctx, namespace)
}

// AwaitGone waits until the object does not exist, or another one of its name
// has taken its place.
func (c *Cluster) AwaitGone(ctx context.Context, object client.Object) error {
	uid := object.GetUID()
	return Await(ctx, 3*time.Minute, func(ctx context.Context) (bool, string) {
		err := c.Get(ctx, client.ObjectKeyFromObject(object), object)
		gone := apierrors.IsNotFound(err) || err == nil && uid != "" && object.GetUID() != uid
		return gone, fmt.Sprintf("%T %s is still there (%v)", object, client.ObjectKeyFromObject(object), err)
	})
}

// Await waits until condition holds. When the time is up, the error is what
// condition said last about what is missing. [timelimit.Variable] scales the timeout.
func Await(ctx context.Context, timeout time.Duration, condition func(context.Context) (bool, string)) error {
	var missing string
	timeout = timelimit.Scaled(timeout)
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, timeout, true, func(ctx context.Context) (bool, error) {
		ok, what := condition(ctx)
		if !ok && ctx.Err() == nil {
			missing = what
		}
		return ok, nil
	})
	if err != nil {
		return fmt.Errorf("%w while waiting, at most %s: %s", err, timeout, strings.TrimSpace(missing))
	}
	return nil
}
