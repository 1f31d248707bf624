package chart

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/reaper"
)

// The golden files list the rights. Whatever the values are, no right is a wildcard
// and the Lease is the only object that the reaper may update.
func TestRights(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []client.Object) {
		role, clusterRole := only[*rbacv1.Role](t, objects), only[*rbacv1.ClusterRole](t, objects)
		if clusterRole.AggregationRule != nil {
			t.Error("the role gets rights from other roles")
		}
		for _, rule := range slices.Concat(role.Rules, clusterRole.Rules) {
			if slices.Contains(slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs), "*") || len(rule.NonResourceURLs) > 0 {
				t.Errorf("a right to everything: %+v", rule)
			}
			if slices.Contains(rule.Verbs, "update") && !slices.Equal(rule.ResourceNames, []string{reaper.LeaseName}) {
				t.Errorf("the reaper may update more than its Lease: %+v", rule)
			}
		}
	})
}

func TestOnlyTheReaperHasRights(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []client.Object) {
		account := deployment(t, objects, "reaper").Spec.Template.Spec.ServiceAccountName
		subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Name: account, Namespace: namespace}}
		inCluster, inNamespace := only[*rbacv1.ClusterRoleBinding](t, objects), only[*rbacv1.RoleBinding](t, objects)
		for binding, got := range map[string][]rbacv1.Subject{"ClusterRoleBinding": inCluster.Subjects, "RoleBinding": inNamespace.Subjects} {
			if diff := cmp.Diff(subjects, got); diff != "" {
				t.Errorf("subjects of the %s (-want +got):\n%s", binding, diff)
			}
		}
		if ref := inCluster.RoleRef; ref.Kind != "ClusterRole" || ref.Name != only[*rbacv1.ClusterRole](t, objects).Name {
			t.Errorf("the ClusterRoleBinding refers to %+v", ref)
		}
		if ref := inNamespace.RoleRef; ref.Kind != "Role" || ref.Name != only[*rbacv1.Role](t, objects).Name {
			t.Errorf("the RoleBinding refers to %+v", ref)
		}
	})
}

// Only the reaper's own pods mount a token.
func TestTokens(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []client.Object) {
		for _, component := range components {
			pod := deployment(t, objects, component).Spec.Template.Spec
			account := named[*corev1.ServiceAccount](t, objects, pod.ServiceAccountName)
			if mounts := account.AutomountServiceAccountToken; mounts == nil || *mounts {
				t.Errorf("any pod with the account %s mounts its token", account.Name)
			}
			if mounts, want := pod.AutomountServiceAccountToken, component == "reaper"; mounts == nil || *mounts != want {
				t.Errorf("the pods of the %s: a token is mounted: %v, want %v", component, mounts, want)
			}
		}
	})
}
