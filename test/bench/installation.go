package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/test/kube"
)

// Templates of the chart.
var (
	rights    = []string{"reaper-rbac.yaml"}
	admission = []string{"webhook-configuration.yaml", "reaper-policy.yaml", "admission-policies.yaml"}
)

// statusesWebhook is the name of the verdict's webhook in the chart.
const statusesWebhook = "statuses.webhook.essential-containers"

// render returns the objects of templates of the chart, for the account of the
// contenders.
func (b *bench) render(ctx context.Context, templates []string) (objects []client.Object, err error) {
	args := []string{"template", namespace, b.chart, "--namespace=" + namespace, "--set=reaper.serviceAccount.name=" + account}
	for _, name := range templates {
		args = append(args, "--show-only=templates/"+name)
	}
	var stderr bytes.Buffer
	helm := exec.CommandContext(ctx, b.helm, args...)
	helm.Stderr = &stderr
	manifests, err := helm.Output()
	if err != nil {
		return nil, fmt.Errorf("rendering the chart: %w: %s", err, stderr.String())
	}
	return decodeManifests(manifests)
}

func decodeManifests(manifests []byte) (objects []client.Object, err error) {
	for reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests))); ; {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the chart's objects: %w", err)
		}
		decoded, _, err := scheme.Codecs.UniversalDeserializer().Decode(document, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("decoding an object of the chart: %w", err)
		}
		object, ok := decoded.(client.Object)
		if !ok {
			return nil, fmt.Errorf("the chart has a %T", decoded)
		}
		objects = append(objects, object)
	}
}

// redirect has the API server reach the webhook at the URL.
func redirect(objects []client.Object, url string, bundle []byte) {
	to := func(c *admissionregistrationv1.WebhookClientConfig) {
		c.URL, c.Service, c.CABundle = new(url+*c.Service.Path), nil, bundle
	}
	for _, object := range objects {
		switch o := object.(type) {
		case *admissionregistrationv1.MutatingWebhookConfiguration:
			for i := range o.Webhooks {
				to(&o.Webhooks[i].ClientConfig)
			}
		case *admissionregistrationv1.ValidatingWebhookConfiguration:
			for i := range o.Webhooks {
				to(&o.Webhooks[i].ClientConfig)
			}
		}
	}
}

// replace creates the objects, also where an earlier run has left some.
func (b *bench) replace(ctx context.Context, objects []client.Object) error {
	if err := b.delete(ctx, objects); err != nil {
		return err
	}
	for _, o := range objects {
		if err := b.local.Create(ctx, o.DeepCopyObject().(client.Object)); err != nil {
			return fmt.Errorf("creating what the chart has: %w", err)
		}
	}
	return nil
}

func (b *bench) delete(ctx context.Context, objects []client.Object) error {
	for _, o := range objects {
		if err := b.local.Delete(ctx, o); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting what the chart has: %w", err)
		}
	}
	return nil
}

// installation is the webhook program, and what the chart has the API server ask
// it and enforce.
type installation struct {
	*bench
	webhook   *server
	objects   []client.Object
	contender kubernetes.Interface
}

// install returns an installation that is switched on.
func (b *bench) install(ctx context.Context) (*installation, error) {
	contender, err := clientcmd.BuildConfigFromFlags("", b.cluster.kubeconfig())
	if err != nil {
		return nil, err
	}
	i := &installation{bench: b}
	if i.contender, err = newClients(contender); err != nil {
		return nil, err
	}
	if i.objects, err = b.render(ctx, admission); err != nil {
		return nil, err
	}
	var bundle []byte
	if i.webhook, bundle, err = b.serveWebhook(ctx); err != nil {
		return nil, err
	}
	redirect(i.objects, i.webhook.url, bundle)
	if err := i.on(ctx); err != nil {
		return nil, errors.Join(err, i.uninstall(context.WithoutCancel(ctx)))
	}
	return i, nil
}

func (i *installation) uninstall(ctx context.Context) error {
	defer i.webhook.stop()
	return i.delete(ctx, i.objects)
}

func (i *installation) on(ctx context.Context) error {
	return errors.Join(i.replace(ctx, i.objects), i.await(ctx, effects{true, true, true}))
}

func (i *installation) off(ctx context.Context) error {
	return errors.Join(i.delete(ctx, i.objects), i.await(ctx, effects{}))
}

// effects are what the API server does by the installation.
type effects struct{ decides, boundsReaper, guardsAnnotations bool }

// await waits until the API server has noticed: it does so within a second or two.
// The pod that it is tried with is stored and forgotten, as its node has no kubelet.
func (i *installation) await(ctx context.Context, want effects) (err error) {
	probe := pod("probe", true, false)
	done(probe)
	probe.UID, probe.CreationTimestamp = "probe", metav1.Now()
	if err := i.cluster.store(ctx, probe); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.cluster.forget(context.WithoutCancel(ctx), probe.Name)) }()
	return kube.Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
		have, err := i.effects(ctx, probe)
		return err == nil && have == want, fmt.Sprintf("the API server does %+v by the chart, not %+v (%v)", have, want, err)
	})
}

// effects tries without an effect on the pod.
func (i *installation) effects(ctx context.Context, probe *corev1.Pod) (e effects, err error) {
	try := func(clients kubernetes.Interface, patch string, subresource ...string) (*corev1.Pod, error) {
		return clients.CoreV1().Pods(namespace).Patch(ctx, probe.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}, subresource...)
	}
	forbids := func(clients kubernetes.Interface, patch string) (bool, error) {
		_, err := try(clients, patch)
		if apierrors.IsForbidden(err) {
			return true, nil
		}
		return false, err
	}
	patch, err := statusPatch(probe, func(p *corev1.Pod) { ended(p); p.Status.Reason = "" }) // as if it had ended by itself
	if err != nil {
		return e, err
	}
	written, err := try(i.cluster, string(patch), "status")
	if err != nil {
		return e, err
	}
	e.decides = written.Status.Phase == corev1.PodSucceeded
	if e.boundsReaper, err = forbids(i.contender, `{"metadata":{"labels":{"example.com/probe":"x"}}}`); err != nil {
		return e, err
	}
	e.guardsAnnotations, err = forbids(i.cluster, `{"metadata":{"annotations":{"`+api.DueAnnotation+`":"x"}}}`)
	return e, err
}
