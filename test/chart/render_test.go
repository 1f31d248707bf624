// Package chart tests what Helm renders from the chart, and the samples. Helm is
// found through the environment variable HELM (a path), or on PATH.
package chart

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	sigsyaml "sigs.k8s.io/yaml"
)

const (
	chartDir  = "../../charts/essential-containers"
	release   = "essential-containers"
	namespace = "apps"
	version   = "0.2.0"
)

var components = []string{"webhook", "reaper"}

// chartFiles returns the files of the chart by path. Every test that runs Helm
// calls it: Go's test cache notices the files that a test reads, but not those that
// Helm reads.
var chartFiles = sync.OnceValue(func() map[string]string {
	files, dir := map[string]string{}, os.DirFS(chartDir)
	if err := fs.WalkDir(dir, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(dir, path)
		files[path] = string(content)
		return err
	}); err != nil {
		panic(err)
	}
	return files
})

// outputs holds what Helm has returned for these arguments: a function that returns it.
var outputs sync.Map

// runHelm returns Helm's standard output, or an error with its standard error. Helm
// has no access to a cluster. It runs once for the same arguments.
func runHelm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	chartFiles()
	helm, err := exec.LookPath(cmp.Or(os.Getenv("HELM"), "helm"))
	if err != nil {
		t.Fatalf("these tests need Helm, on PATH or named by the environment variable HELM: %v", err)
	}
	output, _ := outputs.LoadOrStore(strings.Join(args, "\x00"), sync.OnceValues(func() (string, error) {
		cmd := exec.Command(helm, args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+os.DevNull)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		stdout, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("helm %s: %w: %s", strings.Join(args, " "), err, stderr.String())
		}
		return string(stdout), nil
	}))
	return output.(func() (string, error))()
}

// render returns the objects of the default release, with arguments such as "--set".
func render(t *testing.T, args ...string) []client.Object {
	t.Helper()
	return renderRelease(t, release, namespace, args...)
}

func renderRelease(t *testing.T, name, namespace string, args ...string) []client.Object {
	t.Helper()
	out, err := runHelm(t, append([]string{"template", name, chartDir, "--namespace", namespace}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, []byte(out))
}

// decode reads manifests as the API server does with strict validation: a field
// that is unknown, duplicate or in the wrong case is an error.
func decode(t *testing.T, manifests []byte) []client.Object {
	t.Helper()
	known := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(known), certmanager.AddToScheme(known)); err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer()
	var objects []client.Object
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
		decoded, kind, err := decoder.Decode(content, nil, nil)
		if runtime.IsNotRegisteredError(err) && kind.Kind == "PodMonitor" {
			decoded, _, err = unstructured.UnstructuredJSONScheme.Decode(content, nil, nil)
		}
		if err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		objects = append(objects, decoded.(client.Object))
	}
}

// title returns the kind and the name of an object.
func title(o client.Object) string {
	return o.GetObjectKind().GroupVersionKind().Kind + " " + o.GetName()
}

// all returns the objects of one type, by name.
func all[T client.Object](objects []client.Object) map[string]T {
	found := map[string]T{}
	for _, o := range objects {
		if typed, ok := o.(T); ok && !isHook(o) {
			found[o.GetName()] = typed
		}
	}
	return found
}

// only returns the one object of its type.
func only[T client.Object](t *testing.T, objects []client.Object) T {
	t.Helper()
	found := slices.Collect(maps.Values(all[T](objects)))
	if len(found) != 1 {
		t.Fatalf("want one %T, have %d", found, len(found))
	}
	return found[0]
}

// named returns the object of that type and name.
func named[T client.Object](t *testing.T, objects []client.Object, name string) T {
	t.Helper()
	found, ok := all[T](objects)[name]
	if !ok {
		t.Fatalf("no %T named %s", found, name)
	}
	return found
}

// deployment returns the Deployment of a component, whatever its name.
func deployment(t *testing.T, objects []client.Object, component string) *appsv1.Deployment {
	t.Helper()
	for _, d := range all[*appsv1.Deployment](objects) {
		if d.Labels["app.kubernetes.io/component"] == component {
			return d
		}
	}
	t.Fatalf("no Deployment of the component %s", component)
	return nil
}

// container returns the one container of a component's pods.
func container(t *testing.T, objects []client.Object, component string) corev1.Container {
	t.Helper()
	containers := deployment(t, objects, component).Spec.Template.Spec.Containers
	if len(containers) != 1 {
		t.Fatalf("want one container in the pods of the %s, have %d", component, len(containers))
	}
	return containers[0]
}
