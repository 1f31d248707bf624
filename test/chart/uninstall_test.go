package chart

import (
	"strings"
	"testing"
)

// Each webhook configuration, and what has a policy demand the webhook's mark, has a
// hook of its name, which Helm puts in its place before it deletes anything: the
// policy's first. Without a cluster there is none: kubectl apply would
// apply the hook last.
func TestUninstallHooks(t *testing.T) {
	for sentence, c := range map[string]struct {
		args []string
		want int
	}{
		"with cert-manager":    {[]string{"--api-versions", "cert-manager.io/v1"}, 3},
		"without workloads":    {[]string{"--api-versions", "cert-manager.io/v1", "--set", "webhook.workloads.enabled=false"}, 2},
		"of a name of its own": {[]string{"--api-versions", "cert-manager.io/v1", "--set", "webhook.configurationName=zz"}, 3},
		"without policies":     {[]string{"--api-versions", "cert-manager.io/v1", "--set", "admissionPolicies.enabled=false"}, 2},
		"without a cluster":    {nil, 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			installed, hooks := map[string]bool{}, map[string]bool{}
			for _, o := range render(t, c.args...) {
				annotations := o.GetAnnotations()
				switch {
				case !strings.HasSuffix(o.kind, "WebhookConfiguration") && o.kind != "ConfigMap":
				case annotations["helm.sh/hook"] == "":
					installed[o.String()] = true
				case annotations["helm.sh/hook"] == "pre-delete" && annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded":
					hooks[o.String()] = true
					if first := annotations["helm.sh/hook-weight"] == "-1"; first != (o.kind == "ConfigMap") {
						t.Errorf("%s has the weight %q", o, annotations["helm.sh/hook-weight"])
					}
				default:
					t.Errorf("%s is a hook with %v", o, annotations)
				}
			}
			if len(hooks) != c.want {
				t.Errorf("got the hooks %v, want %d", hooks, c.want)
			}
			for hook := range hooks {
				if !installed[hook] {
					t.Errorf("the hook %s takes the place of nothing in %v", hook, installed)
				}
			}
			if c.want > 0 && len(hooks) != len(installed) {
				t.Errorf("there are %v, but hooks only for %v", installed, hooks)
			}
		})
	}
}
