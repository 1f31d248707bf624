package kube

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/reaper"
)

// Who the two programs are to the API server.
const (
	ReaperUser  = "system:serviceaccount:" + Release + ":" + ReaperDeployment
	WebhookUser = "system:serviceaccount:" + Release + ":" + WebhookDeployment
)

// Components are the release's pods of one component.
func (c *Cluster) Components(ctx context.Context, component string) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := c.List(ctx, &pods, client.InNamespace(Release), client.MatchingLabels{"app.kubernetes.io/component": component})
	return pods.Items, err
}

// Leader waits for a reaper to hold the Lease, and returns its pod's name.
func (c *Cluster) Leader(ctx context.Context) (pod string, err error) {
	err = Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
		lease := &coordinationv1.Lease{}
		if err := c.Get(ctx, client.ObjectKey{Namespace: Release, Name: reaper.LeaseName}, lease); err != nil {
			return false, err.Error()
		}
		if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
			return false, "the Lease has no holder"
		}
		pod, _, _ = strings.Cut(*lease.Spec.HolderIdentity, "_") // the rest identifies the process
		return true, ""
	})
	return pod, err
}

// Metrics is what a pod of the release says of itself.
func (c *Cluster) Metrics(ctx context.Context, pod string) ([]byte, error) {
	return c.Clientset.CoreV1().Pods(Release).ProxyGet("http", pod, "8080", "/metrics", nil).DoRaw(ctx)
}

// Metric is the value of a metric without labels, if the text has it.
func Metric(text []byte, name string) (value float64, found bool) {
	match := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text)
	if match == nil {
		return 0, false
	}
	value, err := strconv.ParseFloat(string(match[1]), 64)
	return value, err == nil
}

// RenewCertificate does what `cmctl renew` does, and returns when the webhook's
// certificate is issued again.
func (c *Cluster) RenewCertificate(ctx context.Context) error {
	certificate := &cmapi.Certificate{}
	revision, asked := 0, false
	return Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
		if err := c.Get(ctx, client.ObjectKey{Namespace: Release, Name: ServingCertificate}, certificate); err != nil {
			return false, err.Error()
		}
		if asked {
			return ptr.Deref(certificate.Status.Revision, 0) > revision, "the certificate is not issued again"
		}
		revision = ptr.Deref(certificate.Status.Revision, 0) // none, if the Secret was there before
		certificate.Status.Conditions = append(certificate.Status.Conditions, cmapi.CertificateCondition{
			Type: cmapi.CertificateConditionIssuing, Status: cmmeta.ConditionTrue, Reason: "ManuallyTriggered", Message: "a test",
		})
		err := c.Status().Update(ctx, certificate)
		asked = err == nil
		return false, fmt.Sprintf("asking for a new certificate: %v", err)
	})
}
