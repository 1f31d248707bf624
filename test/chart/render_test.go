// Package chart tests the Helm chart as Helm renders it, and the samples that
// go with it. Helm is found through the environment variable HELM (a path), or
// on PATH.
package chart

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	sigsyaml "sigs.k8s.io/yaml"
)

const (
	chartDir  = "../../charts/essential-containers"
	release   = "essential-containers"
	namespace = "apps"
	version   = "0.2.0"
)

// podMonitor is what the chart uses of the Prometheus operator's type.
type podMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Selector            metav1.LabelSelector `json:"selector"`
		PodMetricsEndpoints []podMetricsEndpoint `json:"podMetricsEndpoints"`
	} `json:"spec"`
}

type podMetricsEndpoint struct {
	Port     string `json:"port"`
	Interval string `json:"interval"`
}

// object is one decoded manifest.
type object struct {
	metav1.Object
	kind string
}

func (o object) String() string { return o.kind + " " + o.GetName() }

// newObject returns an empty object to decode into, or nil for a kind that
// neither the chart nor the samples should have.
func newObject(kind metav1.TypeMeta) metav1.Object {
	switch kind.APIVersion + " " + kind.Kind {
	case "v1 Namespace":
		return &corev1.Namespace{}
	case "networking.k8s.io/v1 NetworkPolicy":
		return &networkingv1.NetworkPolicy{}
	case "v1 ConfigMap":
		return &corev1.ConfigMap{}
	case "v1 Service":
		return &corev1.Service{}
	case "v1 ServiceAccount":
		return &corev1.ServiceAccount{}
	case "apps/v1 Deployment":
		return &appsv1.Deployment{}
	case "batch/v1 Job":
		return &batchv1.Job{}
	case "batch/v1 CronJob":
		return &batchv1.CronJob{}
	case "policy/v1 PodDisruptionBudget":
		return &policyv1.PodDisruptionBudget{}
	case "rbac.authorization.k8s.io/v1 ClusterRole":
		return &rbacv1.ClusterRole{}
	case "rbac.authorization.k8s.io/v1 ClusterRoleBinding":
		return &rbacv1.ClusterRoleBinding{}
	case "rbac.authorization.k8s.io/v1 Role":
		return &rbacv1.Role{}
	case "rbac.authorization.k8s.io/v1 RoleBinding":
		return &rbacv1.RoleBinding{}
	case "admissionregistration.k8s.io/v1 MutatingWebhookConfiguration":
		return &admissionv1.MutatingWebhookConfiguration{}
	case "admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration":
		return &admissionv1.ValidatingWebhookConfiguration{}
	case "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy":
		return &admissionv1.ValidatingAdmissionPolicy{}
	case "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding":
		return &admissionv1.ValidatingAdmissionPolicyBinding{}
	case "cert-manager.io/v1 Certificate":
		return &certmanager.Certificate{}
	case "cert-manager.io/v1 Issuer":
		return &certmanager.Issuer{}
	case "monitoring.coreos.com/v1 PodMonitor":
		return &podMonitor{}
	}
	return nil
}

// runHelm returns Helm's standard output, or an error with its standard error.
// It sees no cluster.
func runHelm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	helm, err := exec.LookPath(cmp.Or(os.Getenv("HELM"), "helm"))
	if err != nil {
		t.Fatalf("these tests need Helm, on PATH or named by the environment variable HELM: %v", err)
	}
	cmd := exec.Command(helm, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+os.DevNull)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("helm %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(stdout), nil
}

// render returns the default release's objects, with arguments such as "--set".
func render(t *testing.T, args ...string) []object {
	t.Helper()
	return renderRelease(t, release, namespace, args...)
}

func renderRelease(t *testing.T, name, namespace string, args ...string) []object {
	t.Helper()
	out, err := runHelm(t, append([]string{"template", name, chartDir, "--namespace", namespace}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, []byte(out))
}

// decode reads manifests as the API server does with strict validation: a field
// that is unknown, doubled or in the wrong case is an error.
func decode(t *testing.T, manifests []byte) []object {
	t.Helper()
	var objects []object
	for reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests))); ; {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := sigsyaml.YAMLToJSONStrict(document)
		if err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		if string(content) == "null" {
			continue // comments only
		}
		objects = append(objects, decodeOne(t, content))
	}
}

func decodeOne(t *testing.T, content []byte) object {
	t.Helper()
	var kind metav1.TypeMeta
	if err := kjson.UnmarshalCaseSensitivePreserveInts(content, &kind); err != nil {
		t.Fatalf("%v in:\n%s", err, content)
	}
	into := newObject(kind)
	if into == nil {
		t.Fatalf("unexpected kind %s of %s in:\n%s", kind.Kind, kind.APIVersion, content)
	}
	strict, err := kjson.UnmarshalStrict(content, into)
	if err = errors.Join(append(strict, err)...); err != nil {
		t.Fatalf("%v in:\n%s", err, content)
	}
	return object{Object: into, kind: kind.Kind}
}

// all returns the objects of one type, by name.
func all[T metav1.Object](objects []object) map[string]T {
	found := map[string]T{}
	for _, o := range objects {
		if typed, ok := o.Object.(T); ok {
			found[o.GetName()] = typed
		}
	}
	return found
}

// only returns the one object of its type.
func only[T metav1.Object](t *testing.T, objects []object) T {
	t.Helper()
	found := slices.Collect(maps.Values(all[T](objects)))
	if len(found) != 1 {
		t.Fatalf("want one %T, have %d", found, len(found))
	}
	return found[0]
}

// named returns the object of that type and name.
func named[T metav1.Object](t *testing.T, objects []object, name string) T {
	t.Helper()
	found, ok := all[T](objects)[name]
	if !ok {
		t.Fatalf("no %T named %s", found, name)
	}
	return found
}
