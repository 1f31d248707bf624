package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/test/kube"
)

// lookAround tells what to look at after the demo, and how to remove all.
func lookAround(s settings) string {
	kubectl, end := "kubectl", `Remove all again:
  {helm} uninstall {release} -n {release}
  {kubectl} delete namespace {demo} {plain}
`
	if s.local {
		kubectl, end = "bin/kubectl", `Stop the cluster:
  make cluster-down
`
	}
	return strings.NewReplacer("{kubectl}", kubectl, "{helm}", s.helm, "{kubeconfig}", s.kubeconfig,
		"{release}", kube.Release, "{demo}", optedInNamespace, "{plain}", plainNamespace,
	).Replace(`Look around:
  export KUBECONFIG={kubeconfig}
  {kubectl} get jobs,pods -n {demo}
  {kubectl} get events -n {demo}
  {kubectl} get jobs,pods -n {plain}
  {kubectl} describe pods -n {plain}
  {kubectl} logs -n {release} -l app.kubernetes.io/component=reaper --prefix --tail=-1
  {helm} status {release} -n {release}

` + end)
}

// diagnosis is what in the cluster may explain a failure, each in a line:
// Deployments of the release that are not ready, and warnings in the demo's
// namespaces. What cannot be read is left out.
func (d *demo) diagnosis(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var text strings.Builder
	for _, name := range []string{kube.WebhookDeployment, kube.ReaperDeployment} {
		var deployment appsv1.Deployment
		err := d.cluster.Get(ctx, client.ObjectKey{Namespace: kube.Release, Name: name}, &deployment)
		if s := deployment.Status; err == nil && (s.ReadyReplicas == 0 || s.ReadyReplicas < s.Replicas) {
			fmt.Fprintf(&text, "\nDeployment %s: %d of %d pods are ready", name, s.ReadyReplicas, s.Replicas)
		}
	}
	for _, namespace := range []string{optedInNamespace, plainNamespace} {
		var warnings corev1.EventList
		_ = d.cluster.List(ctx, &warnings, client.InNamespace(namespace), client.MatchingFields{"type": corev1.EventTypeWarning})
		for _, w := range warnings.Items {
			fmt.Fprintf(&text, "\n%s %s/%s: %s: %s", w.InvolvedObject.Kind, namespace, w.InvolvedObject.Name, w.Reason, w.Message)
		}
	}
	return text.String()
}
