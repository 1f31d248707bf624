package main

import (
	"strings"

	"github.com/essential-containers/essential-containers/test/kube"
)

// lookAround tells what to look at after the demo, and how to remove all.
func lookAround(s settings) string {
	kubectl, end := "kubectl", `Remove all again:
  {helm} uninstall {release} -n {release}
  {kubectl} delete namespace {demo} {plain}
  {kubectl} delete namespace {release}  # holds cert-manager's Secrets still; only if nothing else is in it
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
