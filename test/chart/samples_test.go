package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

const samplesDir = "../../docs/samples"

// samples returns the objects of all samples in the order in which kubectl
// applies them.
func samples(t *testing.T) []object {
	t.Helper()
	var objects []object
	for _, path := range sampleFiles(t) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, decode(t, content)...)
	}
	return objects
}

func sampleFiles(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(samplesDir, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no samples in %s: %v", samplesDir, err)
	}
	return paths
}

// podTemplate returns the template of a workload, or nil.
func podTemplate(o object) *corev1.PodTemplateSpec {
	switch workload := o.Object.(type) {
	case *batchv1.Job:
		return &workload.Spec.Template
	case *batchv1.CronJob:
		return &workload.Spec.JobTemplate.Spec.Template
	case *appsv1.Deployment:
		return &workload.Spec.Template
	}
	return nil
}

func TestSamples(t *testing.T) {
	var got []string
	for _, o := range samples(t) {
		got = append(got, o.String())
	}
	want := []string{
		"Namespace essential-containers-samples",
		"Job one-off",
		"CronJob every-minute",
		"Job three-shares",
		"Deployment renewed",
		"Job work-or-limit",
		"Job policies",
		"Job native",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("samples in the order in which they are applied (-want +got):\n%s", diff)
	}
}

func TestSamplesNameTheirContainers(t *testing.T) {
	for _, o := range samples(t) {
		template := podTemplate(o)
		if template == nil {
			continue
		}
		t.Run(o.String(), func(t *testing.T) {
			var names essential.ContainerNames
			for _, c := range template.Spec.Containers {
				names.Regular = append(names.Regular, c.Name)
			}
			named, errs := essential.ParseLabel(essential.LabelPath(nil), template.Labels[api.Label], names)
			if err := errs.ToAggregate(); err != nil {
				t.Fatal(err)
			}
			if _, errs := essential.DefaultPolicies().Override(nil, template.Annotations); len(errs) > 0 {
				t.Error(errs.ToAggregate())
			}
			if unknown := essential.UnknownAnnotations(nil, template.Annotations); len(unknown) > 0 {
				t.Error(unknown)
			}
			if len(named) == len(names.Regular) {
				t.Error("each container is essential: there is no sidecar to stop")
			}
		})
	}
}

// With the chart's defaults, every sample reaches the webhook.
func TestSamplesOptIn(t *testing.T) {
	webhook := mutatingWebhook(t, render(t), podsWebhook)
	inNamespace, err := metav1.LabelSelectorAsSelector(webhook.NamespaceSelector)
	if err != nil {
		t.Fatal(err)
	}
	onPod, err := metav1.LabelSelectorAsSelector(webhook.ObjectSelector)
	if err != nil {
		t.Fatal(err)
	}
	home := only[*corev1.Namespace](t, samples(t))
	if !inNamespace.Matches(labels.Set(home.Labels)) {
		t.Errorf("the namespace has not opted in: %v", home.Labels)
	}
	for _, o := range samples(t) {
		template := podTemplate(o)
		if template == nil {
			continue
		}
		if o.GetNamespace() != home.Name {
			t.Errorf("%s is in the namespace %q", o, o.GetNamespace())
		}
		if !onPod.Matches(labels.Set(template.Labels)) {
			t.Errorf("the webhook does not see the pods of %s: %v", o, template.Labels)
		}
	}
}

func TestSamplesAreRestricted(t *testing.T) {
	for _, o := range samples(t) {
		if template := podTemplate(o); template != nil {
			t.Run(o.String(), func(t *testing.T) { assertRestricted(t, template.Spec) })
		}
	}
}

func TestSamplesSayWhatToExpect(t *testing.T) {
	for _, path := range sampleFiles(t) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		comment, _, _ := strings.Cut(string(content), "\napiVersion:")
		if !strings.HasPrefix(comment, "# ") || !strings.Contains(strings.ReplaceAll(comment, "\n# ", " "), "Expect") {
			t.Errorf("%s does not begin with a comment that says what to expect", path)
		}
	}
}
