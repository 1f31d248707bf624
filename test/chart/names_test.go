package chart

import (
	"slices"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// clusterScoped lists the kinds without a namespace.
var clusterScoped = []string{
	"ClusterRole",
	"ClusterRoleBinding",
	"MutatingWebhookConfiguration",
	"ValidatingAdmissionPolicy",
	"ValidatingAdmissionPolicyBinding",
	"ValidatingWebhookConfiguration",
}

func TestPrefixOfNames(t *testing.T) {
	long := "a-release-whose-name-is-as-long-as-helm-lets-it-be-53"
	for name, test := range map[string]struct {
		release, want string
		args          []string
	}{
		"a release with the chart's name":      {release: "essential-containers", want: "essential-containers"},
		"a release with the name in it":        {release: "my-essential-containers", want: "my-essential-containers"},
		"any other release":                    {release: "prod", want: "prod-essential-containers"},
		"a dot, which a Service must not have": {release: "v1.prod", want: "v1-prod-essential-containers"},
		"a name that is too long":              {release: long, want: "a-release-whose-name-is-as-long-as-helm-lets-it-be"},
		"a cut that would end in a dash":       {release: "a-release-whose-name-is-cut-right-behind-the-dash-x", want: "a-release-whose-name-is-cut-right-behind-the-dash"},
		"a prefix of the user's":               {release: "prod", want: "ec", args: []string{"--set", "fullnameOverride=ec"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, o := range renderRelease(t, test.release, namespace, test.args...) {
				got = append(got, title(o))
			}
			for _, want := range []string{"Certificate " + test.want + "-ca", "Service " + test.want + "-webhook", "ClusterRole " + test.want + ".apps"} {
				if !slices.Contains(got, want) {
					t.Errorf("no %s in %q", want, got)
				}
			}
		})
	}
}

func TestReleasesDoNotCollide(t *testing.T) {
	type place struct{ release, namespace string }
	for name, places := range map[string][2]place{
		"one name in two namespaces":       {{"ec", "one"}, {"ec", "two"}},
		"two names in one namespace":       {{"one", "apps"}, {"two", "apps"}},
		"names that are equal when joined": {{"essential-containers-a", "b"}, {"essential-containers", "a-b"}},
	} {
		t.Run(name, func(t *testing.T) {
			taken := map[string]bool{}
			for _, place := range places {
				for _, o := range renderRelease(t, place.release, place.namespace) {
					key := title(o) + " in " + o.GetNamespace()
					if taken[key] {
						t.Errorf("both releases have %s", key)
					}
					taken[key] = true
				}
			}
		})
	}
}

// Every object is in the release namespace, belongs to the release, and is deleted with
// it.
func TestMetadata(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []client.Object) {
		instance := deployment(t, objects, "webhook").Labels["app.kubernetes.io/instance"]
		for _, o := range objects {
			want := namespace
			if slices.Contains(clusterScoped, o.GetObjectKind().GroupVersionKind().Kind) {
				want = ""
			}
			if o.GetNamespace() != want {
				t.Errorf("%s is in the namespace %q, want %q", title(o), o.GetNamespace(), want)
			}
			if got := o.GetLabels(); got["app.kubernetes.io/instance"] != instance || got["app.kubernetes.io/component"] == "" || got["app.kubernetes.io/version"] != version {
				t.Errorf("%s has the labels %v", title(o), got)
			}
			if policy, ok := o.GetAnnotations()["helm.sh/resource-policy"]; ok {
				t.Errorf("%s has the resource policy %s", title(o), policy)
			}
		}
	})
}

// isHook reports whether the object is there for the uninstallation only.
func isHook(o client.Object) bool { return o.GetAnnotations()["helm.sh/hook"] != "" }
