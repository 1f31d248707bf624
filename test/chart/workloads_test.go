package chart

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/internal/command"
	"github.com/essential-containers/essential-containers/reaper"
	"github.com/essential-containers/essential-containers/webhook"
)

// flags reads the subcommand, and arguments of the form --name=value. The last of two equal flags counts.
func flags(t *testing.T, objects []client.Object, component string) map[string]string {
	t.Helper()
	values := map[string]string{}
	args := container(t, objects, component).Args
	if len(args) == 0 || args[0] != component {
		t.Fatalf("the %s runs %q", component, args)
	}
	for _, arg := range args[1:] {
		name, value, ok := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if !ok || !strings.HasPrefix(arg, "--") {
			t.Fatalf("argument %q is not --name=value", arg)
		}
		values[name] = value
	}
	return values
}

// The programs accept every value that the schema accepts.
func TestProgramsAcceptTheirFlags(t *testing.T) {
	for name, set := range map[string]string{
		"the defaults":         "",
		"the smallest values":  "logLevel=error,webhook.shutdownDelay=0s,reaper.workers=1",
		"the largest values":   "logLevel=debug,webhook.shutdownDelay=999s,reaper.workers=1000",
		"the other policies":   "defaults.completion=All,defaults.onFailure=Ignore,defaults.retention=Forever,defaults.mode=Native",
		"every unit of time":   "defaults.stopDelay=1h2m3.5s4ms5us6ns,defaults.retention=7µs",
		"the longest times":    "defaults.stopDelay=999999h999999h99999h,defaults.retention=999999.999999999h",
		"no time at all":       "defaults.stopDelay=0m,defaults.retention=0.0s",
		"no unit of time":      "defaults.stopDelay=0,defaults.retention=0",
		"adoption":             "reaper.adopt=true",
		"every namespace":      "webhook.namespaceSelector.matchLabels=null",
		"a client CA":          "webhook.clientCA.secretName=callers",
		"the longest DNS name": "fullnameOverride=" + strings.Repeat("a", 50),
	} {
		t.Run(name, func(t *testing.T) {
			set := []string{"--set", set}
			if name == "no unit of time" {
				set[0] = "--set-string"
			}
			objects := render(t, set...)
			parse(t, container(t, objects, "webhook").Args, &webhook.Options{})
			parse(t, container(t, objects, "reaper").Args, &reaper.Options{})
		})
	}
}

// parse reads the arguments as the program does.
func parse(t *testing.T, args []string, options command.Options) {
	t.Helper()
	root := command.Root("test", command.New("webhook", "", options, nil), command.New("reaper", "", options, nil))
	subcommand, args, err := root.Find(args)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(subcommand.ParseFlags(args), options.Validate()); err != nil {
		t.Errorf("%q: %v", args, err)
	}
}

// Each selector finds the pods of its component, and no pod of another release.
func TestSelectors(t *testing.T) {
	otherRelease := renderRelease(t, "other", namespace)
	eachRendering(t, func(t *testing.T, objects []client.Object) {
		selectors := map[string][]*metav1.LabelSelector{"webhook": {{MatchLabels: only[*corev1.Service](t, objects).Spec.Selector}}}
		for _, budget := range all[*policyv1.PodDisruptionBudget](objects) {
			selectors["webhook"] = append(selectors["webhook"], budget.Spec.Selector)
		}
		for _, policy := range all[*networkingv1.NetworkPolicy](objects) {
			selectors["webhook"] = append(selectors["webhook"], &policy.Spec.PodSelector)
		}
		for _, component := range components {
			spec := deployment(t, objects, component).Spec
			for _, s := range append(selectors[component], spec.Selector, spec.Template.Spec.TopologySpreadConstraints[0].LabelSelector) {
				selector, err := metav1.LabelSelectorAsSelector(s)
				if err != nil {
					t.Fatal(err)
				}
				for _, other := range components {
					if got := selector.Matches(labels.Set(deployment(t, objects, other).Spec.Template.Labels)); got != (other == component) {
						t.Errorf("%s of the %s selects the pods of the %s: %v", selector, component, other, got)
					}
					if selector.Matches(labels.Set(deployment(t, otherRelease, other).Spec.Template.Labels)) {
						t.Errorf("%s selects pods of another release", selector)
					}
				}
			}
		}
	})
}

// A terminating webhook pod serves for the shutdown delay, then ends the requests that
// API servers may still wait for. Its grace period must be longer.
func TestGracePeriod(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []client.Object) {
		delay, err := time.ParseDuration(flags(t, objects, "webhook")["shutdown-delay"])
		if err != nil {
			t.Fatal(err)
		}
		needed := int64(delay.Seconds()) + int64(*mutatingWebhook(t, objects, podsWebhook).TimeoutSeconds)
		grace := deployment(t, objects, "webhook").Spec.Template.Spec.TerminationGracePeriodSeconds
		if grace == nil || *grace <= needed {
			t.Errorf("the grace period is %v, want more than %d seconds", grace, needed)
		}
	})
}

func TestPodsAreRestricted(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []client.Object) {
		for _, component := range components {
			pod := deployment(t, objects, component).Spec.Template.Spec
			assertRestricted(t, pod)
			if user := pod.SecurityContext.RunAsUser; user == nil || *user != 65532 {
				t.Errorf("%s runs as user %v, want the image's 65532", component, user)
			}
			if fs := pod.Containers[0].SecurityContext.ReadOnlyRootFilesystem; fs == nil || !*fs {
				t.Errorf("%s can write to its root file system", component)
			}
		}
	})
}

// assertRestricted checks the fields that pods must set for the restricted Pod Security
// level. The end-to-end tests show that API servers admit them.
func assertRestricted(t *testing.T, pod corev1.PodSpec) {
	t.Helper()
	security := pod.SecurityContext
	if security == nil || !ptr.Deref(security.RunAsNonRoot, false) || security.SeccompProfile == nil || security.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("the pod's security context is %+v", security)
	}
	for _, c := range pod.Containers {
		own := c.SecurityContext
		if own == nil || ptr.Deref(own.AllowPrivilegeEscalation, true) || own.Capabilities == nil || !slices.Equal(own.Capabilities.Drop, []corev1.Capability{"ALL"}) || own.Capabilities.Add != nil {
			t.Errorf("the security context of the container %s is %+v", c.Name, own)
		}
	}
}

// For every image name, make installs that image.
func TestImageOfTheMakefile(t *testing.T) {
	if _, err := os.ReadFile("../../Makefile"); err != nil { // for Go's test cache: see chartFiles
		t.Fatal(err)
	}
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	values := regexp.MustCompile(`--set(-string)?=image[^\s;]*`)
	for image, want := range map[string]string{
		"ec":                             "ec:latest",
		"example.com/ec:1.10":            "example.com/ec:1.10",
		"registry:5000/a/ec":             "registry:5000/a/ec:latest",
		"registry:5000/a/ec:edge":        "registry:5000/a/ec:edge",
		"registry:5000/ec@" + digest:     "registry:5000/ec@" + digest,
		"registry:5000/ec:1.0@" + digest: "registry:5000/ec@" + digest,
	} {
		for _, target := range []string{"deploy", "manifests"} {
			recipe, err := exec.CommandContext(t.Context(), "make", "--directory=../..", "--dry-run", target, "IMG="+image).CombinedOutput()
			if err != nil {
				t.Fatalf("make %s: %v\n%s", target, err, recipe)
			}
			objects := render(t, values.FindAllString(string(recipe), -1)...)
			if got := container(t, objects, "webhook").Image; got != want {
				t.Errorf("make %s IMG=%s installs %s, want %s", target, image, got, want)
			}
		}
	}
}
