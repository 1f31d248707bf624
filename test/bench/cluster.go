package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"golang.org/x/sync/errgroup"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/test/kube"
)

// cluster is the API server that everything is measured on.
type cluster struct {
	kubernetes.Interface
	config *rest.Config
	etcd   *http.Client
	folder string // for kubeconfigs and logs
	audit  audit
}

// account is the ServiceAccount of all contenders, with the rights that the chart
// gives the reaper. The administrator is exempt from the API server's priority and
// fairness; these are not.
const account = "contender"

func connect(ctx context.Context, local *kube.Cluster, kubeconfig, folder string) (*cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %s: %w", kubeconfig, err)
	}
	clients, err := newClients(config)
	if err != nil {
		return nil, err
	}
	c := &cluster{Interface: clients, config: config, etcd: etcdClient(local), folder: folder, audit: audit{path: filepath.Join(filepath.Dir(kubeconfig), "logs", "audit.log")}}
	if err := c.audit.check(); err != nil {
		return nil, err
	}
	return c, c.prepare(ctx)
}

// newClients are fast ones: protobuf, and no limit of their own.
func newClients(config *rest.Config) (kubernetes.Interface, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON
	config.WarningHandler = rest.NoWarnings{}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	return clients, nil
}

// prepare makes what pods need to be taken, and the account of the contenders. The
// controllers that make some of it elsewhere may be stopped here.
func (c *cluster) prepare(ctx context.Context) error {
	_, err := c.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: namespace, Labels: map[string]string{api.Label: api.NamespaceEnabled},
	}}, metav1.CreateOptions{})
	errs := []error{err}
	_, err = c.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}, metav1.CreateOptions{})
	errs = append(errs, err)
	for _, name := range []string{"default", account} {
		_, err = c.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		errs = append(errs, err)
	}
	for _, err := range errs {
		if err != nil && !apierrors.IsAlreadyExists(err) { // of an earlier run
			return fmt.Errorf("preparing the cluster: %w", err)
		}
	}
	return c.writeKubeconfig(ctx)
}

func (c *cluster) kubeconfig() string { return filepath.Join(c.folder, "kubeconfig") }

func (c *cluster) writeKubeconfig(ctx context.Context) error {
	token, err := c.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(24 * 60 * 60))}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("getting a token: %w", err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters[account] = &clientcmdapi.Cluster{Server: c.config.Host, CertificateAuthorityData: c.config.CAData, CertificateAuthority: c.config.CAFile}
	config.AuthInfos[account] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts[account] = &clientcmdapi.Context{Cluster: account, AuthInfo: account}
	config.CurrentContext = account
	return clientcmd.WriteToFile(*config, c.kubeconfig())
}

// kind is what all pods of one measurement have in common.
type kind struct {
	prefix         string // of their names
	tracked, owned bool
	status         func(*corev1.Pod) // nil: no kubelet has run them yet
}

// afterwards is for deferring: it does the steps, also when ctx has been
// interrupted, and adds their errors to the function's own.
func afterwards(ctx context.Context, err *error, steps ...func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	for _, step := range steps {
		*err = errors.Join(*err, step(ctx))
	}
}

// create makes the pods and writes their status. They come back as they are
// stored. The API server has made the first one itself; the others are copies of
// it, and go where it would store them: two requests for each take several times
// as long.
func (c *cluster) create(ctx context.Context, k kind, count int) ([]*corev1.Pod, error) {
	pods := make([]*corev1.Pod, count)
	if count == 0 {
		return pods, nil
	}
	if err := c.createFirst(ctx, k); err != nil {
		return nil, err
	}
	var err error
	if pods[0], err = c.stored(ctx, k.name(0)); err != nil {
		return nil, err
	}
	return pods, each(writers, count-1, func(i int) error {
		pods[i+1] = copyNamed(pods[0], k.name(i+1))
		return c.store(ctx, pods[i+1])
	})
}

func (k kind) name(i int) string { return fmt.Sprintf("%s-%d", k.prefix, i) }

func (c *cluster) createFirst(ctx context.Context, k kind) error {
	p, err := c.CoreV1().Pods(namespace).Create(ctx, pod(k.name(0), k.tracked, k.owned), metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("creating a pod: %w", err)
	}
	if k.status == nil {
		return nil
	}
	k.status(p)
	if _, err = c.CoreV1().Pods(namespace).UpdateStatus(ctx, p, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("writing the status of a pod: %w", err)
	}
	return nil
}

// complete lets the main containers of stored pods end, as much at once as etcd
// takes it: nothing is asked of the API server while it is asked for stops.
// Only this program may have written the pods before.
func (c *cluster) complete(ctx context.Context, pods ...*corev1.Pod) error {
	return each(writers, len(pods), func(i int) error {
		p := pods[i].DeepCopy()
		completed(p)
		return c.store(ctx, p)
	})
}

// endRunning lets a stopped pod end as its kubelet does it: the verdict is the
// webhook's.
func (c *cluster) endRunning(ctx context.Context, p *corev1.Pod) error {
	patch, err := statusPatch(p, ended)
	if err != nil {
		return err
	}
	_, err = c.CoreV1().Pods(namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// endStored lets a stopped pod end as the verdict leaves it, likewise without a
// request to the API server.
func (c *cluster) endStored(ctx context.Context, p *corev1.Pod) error {
	decided(p)
	p.ResourceVersion = "" // the API server takes it from etcd
	return c.store(ctx, p)
}

// clear forgets all pods of the namespace, where the API server keeps them: it
// would take several times as long. Nothing of them runs anywhere. Events stay,
// which no row reads and which expire.
func (c *cluster) clear(ctx context.Context) error {
	for {
		list, err := c.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{Limit: 5000})
		if err != nil {
			return fmt.Errorf("listing pods: %w", err)
		}
		if len(list.Items) == 0 {
			return nil
		}
		if err := each(writers, len(list.Items), func(i int) error { return c.forget(ctx, list.Items[i].Name) }); err != nil {
			return err
		}
	}
}

// resourceVersion is where a watch begins that misses nothing from now on.
func (c *cluster) resourceVersion(ctx context.Context) (string, error) {
	list, err := c.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return "", fmt.Errorf("listing pods: %w", err)
	}
	return list.ResourceVersion, nil
}

// each calls do for all indices below count, so many at a time as there are workers,
// and returns the first error.
func each(workers, count int, do func(i int) error) error {
	var next atomic.Int64
	var group errgroup.Group
	for range workers {
		group.Go(func() error {
			for {
				i := int(next.Add(1) - 1)
				if i >= count {
					return nil
				}
				if err := do(i); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}
