package chart

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/essential-containers/essential-containers/reaper"
)

// grants spells rules out, one line for each verb on each resource, so that no
// way of writing them hides a right.
func grants(rules []rbacv1.PolicyRule) []string {
	var lines []string
	for _, rule := range rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					for _, name := range names {
						lines = append(lines, verb+" "+group+"/"+resource+" "+name)
					}
				}
			}
		}
		for _, url := range rule.NonResourceURLs {
			lines = append(lines, "url "+url)
		}
	}
	slices.Sort(lines)
	return lines
}

func TestRightsInTheCluster(t *testing.T) {
	want := []string{
		"create /events ",
		"create events.k8s.io/events ",
		"delete /pods ",
		"get /namespaces ",
		"get /pods ",
		"list /namespaces ",
		"list /pods ",
		"patch /events ",
		"patch /pods ",
		"patch events.k8s.io/events ",
		"watch /namespaces ",
		"watch /pods ",
	}
	role := only[*rbacv1.ClusterRole](t, render(t))
	if diff := cmp.Diff(want, grants(role.Rules)); diff != "" {
		t.Errorf("rights (-want +got):\n%s", diff)
	}
	if role.AggregationRule != nil {
		t.Error("the role takes up rights from other roles")
	}
}

func TestRightsInTheNamespace(t *testing.T) {
	want := []string{
		"create coordination.k8s.io/leases ",
		"get coordination.k8s.io/leases " + reaper.LeaseName,
		"patch coordination.k8s.io/leases " + reaper.LeaseName,
		"update coordination.k8s.io/leases " + reaper.LeaseName,
	}
	role := only[*rbacv1.Role](t, render(t, "--set", "fullnameOverride=ec"))
	if diff := cmp.Diff(want, grants(role.Rules)); diff != "" {
		t.Errorf("rights (-want +got):\n%s", diff)
	}
}

func TestOnlyTheReaperHasRights(t *testing.T) {
	for name, args := range map[string][]string{
		"with the default accounts": nil,
		"with accounts of the user's": {
			"--set", "webhook.serviceAccount.name=door,reaper.serviceAccount.name=scythe"},
	} {
		t.Run(name, func(t *testing.T) {
			objects := render(t, args...)
			account := deployment(t, objects, "reaper").Spec.Template.Spec.ServiceAccountName
			subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Name: account, Namespace: namespace}}

			inCluster := only[*rbacv1.ClusterRoleBinding](t, objects)
			inNamespace := only[*rbacv1.RoleBinding](t, objects)
			if diff := cmp.Diff(subjects, inCluster.Subjects); diff != "" {
				t.Errorf("subjects in the cluster (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(subjects, inNamespace.Subjects); diff != "" {
				t.Errorf("subjects in the namespace (-want +got):\n%s", diff)
			}
			if ref, role := inCluster.RoleRef, only[*rbacv1.ClusterRole](t, objects); ref.Kind != "ClusterRole" || ref.Name != role.Name {
				t.Errorf("the cluster's binding refers to %+v", ref)
			}
			if ref, role := inNamespace.RoleRef, only[*rbacv1.Role](t, objects); ref.Kind != "Role" || ref.Name != role.Name {
				t.Errorf("the namespace's binding refers to %+v", ref)
			}
		})
	}
}

func TestAccounts(t *testing.T) {
	for _, component := range components {
		t.Run(component, func(t *testing.T) {
			objects := render(t, "--set", component+".serviceAccount.annotations.team=batch")
			pod := deployment(t, objects, component).Spec.Template.Spec
			account := named[*corev1.ServiceAccount](t, objects, pod.ServiceAccountName)
			if account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
				t.Error("any pod of the account gets its token")
			}
			if want := component == "reaper"; pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken != want {
				t.Errorf("the component's own pods: token is mounted %v, want %v", pod.AutomountServiceAccountToken, want)
			}
			if diff := cmp.Diff(map[string]string{"team": "batch"}, account.Annotations); diff != "" {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
		})
	}
}
