//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/util/cert"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// injectLabel on a pod says which of the injectors below takes it.
const injectLabel = "example.com/inject"

// Another webhook adds the only sidecar, before ours is called or after it, as
// the first container or the last, or as a native one: it makes no difference.
func testInjectedSidecars(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	mesh := kube.Sidecar("mesh")
	native := kube.Sidecar("mesh")
	native.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	// API servers call webhooks in the order of their configurations' names.
	url, bundle := f.serveInjector(map[string]injection{
		"/last":   {`"name":"mesh"`, []addition{{"/spec/containers/-", mesh}}},
		"/first":  {`"name":"mesh"`, []addition{{"/spec/containers/0", mesh}}},
		"/native": {`"name":"mesh"`, []addition{{"/spec/initContainers", []corev1.Container{native}}}},
	})
	for _, when := range []string{"a-before", "z-after"} {
		for _, where := range []string{"last", "first", "native"} {
			name := when + "-" + where
			f.registerInjector(name, name, url+"/"+where, bundle, admissionregistrationv1.NeverReinvocationPolicy)
			template := kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 1"))
			template.Labels[injectLabel] = name
			f.create(kube.Job(f.namespace, name, template))
			f.natives.expect(name, "mesh+ | main")
		}
	}
	for _, when := range []string{"a-before", "z-after"} {
		for _, where := range []string{"last", "first", "native"} {
			job := kube.Job(f.namespace, when+"-"+where, corev1.PodTemplateSpec{})
			f.awaitComplete(job)
			f.counted(job, 1)
			f.count(job.Name, kube.MainStart, 1)
			f.count(job.Name, kube.SidecarStart, 1)
			f.countStopped(job.Name, 1)
			pod := f.awaitEventOf(job, "EssentialContainerCompleted")
			if want := where == "native" || mode == api.ModeNative; strings.Contains(pod, "stopping") == want {
				t.Errorf("%s: the event says %q", job.Name, pod)
			}
		}
	}
}

// Another webhook adds the label. If that comes after ours, the API server does not
// ask ours any more: the pod is refused, and the message says what helps.
func testLabelsOfOtherWebhooks(t *testing.T) {
	f := newFixture(t, true)
	url, bundle := f.serveInjector(map[string]injection{
		"/label": {`"` + api.Label + `":`, []addition{{"/metadata/labels/" + api.Label, "main"}}},
	})
	for name, want := range map[string]string{"a-before": "", "z-after": "essential-containers] has no effect on this pod"} {
		f.registerInjector(name+"-label", name, url+"/label", bundle, admissionregistrationv1.IfNeededReinvocationPolicy)
		pod := kube.Pod(f.namespace, name, kube.Template(corev1.RestartPolicyNever, nil, kube.Main("true"), kube.Sidecar("proxy")))
		pod.Labels = map[string]string{injectLabel: name}
		var err error
		f.must(kube.Await(f.ctx, timeLimit, func(ctx context.Context) (bool, string) {
			created := pod.DeepCopy()
			err = f.cluster.Create(ctx, created, client.DryRunAll)
			return err != nil || created.Labels[api.Label] != "", "the injector is not asked yet"
		}))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q", name, err, want)
		}
	}
}

// injection is what an injector adds to pods.
type injection struct {
	mark      string // in the JSON of a pod that has it already
	additions []addition
}

// addition is one JSON patch operation.
type addition struct {
	path  string
	value any
}

func (a addition) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"op": "add", "path": a.path, "value": a.value})
}

// serveInjector answers admission reviews where the API server can reach it: on
// the loopback of the cluster's own network namespace.
func (f *fixture) serveInjector(injections map[string]injection) (url string, bundle []byte) {
	f.Helper()
	certificate, bundle := f.selfSigned()
	listener, err := f.cluster.Listen("127.0.0.1:0")
	f.must(err)
	mux := http.NewServeMux()
	for path, injection := range injections {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { injection.answer(w, r) })
	}
	server := &http.Server{Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}, ReadHeaderTimeout: timeLimit}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	f.Cleanup(func() { _ = server.Close() })
	return "https://" + listener.Addr().String(), bundle
}

// answer adds it, once.
func (i injection) answer(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
		http.Error(w, fmt.Sprint(err), http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	if !strings.Contains(string(review.Request.Object.Raw), i.mark) {
		patch, err := json.Marshal(i.additions)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		review.Response.Patch, review.Response.PatchType = patch, new(admissionv1.PatchTypeJSONPatch)
	}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

// registerInjector has the API server call url for the pods of the fixture that
// carry the label with this value.
func (f *fixture) registerInjector(name, label, url string, bundle []byte, reinvocation admissionregistrationv1.ReinvocationPolicyType) {
	f.Helper()
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name:                    "inject.example.com",
			ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: bundle},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: f.namespace}},
			ObjectSelector:          &metav1.LabelSelector{MatchLabels: map[string]string{injectLabel: label}},
			ReinvocationPolicy:      &reinvocation,
			SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}
	f.create(configuration)
	f.Cleanup(func() {
		if err := f.cluster.Delete(context.Background(), configuration); err != nil {
			f.Error(err)
		}
	})
}

// selfSigned is a certificate for the loopback, and its own authority.
func (f *fixture) selfSigned() (certificate tls.Certificate, bundle []byte) {
	f.Helper()
	bundle, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	f.must(err)
	certificate, err = tls.X509KeyPair(bundle, key)
	f.must(err)
	return certificate, bundle
}

// mesh injects what service meshes do: an init container that sets the network
// up, a proxy in front of all containers that is probed and has hooks, its
// volume, and an annotation that says so. Each has an address and a port.
func mesh(name, address string, port int32) injection {
	network := setUp(name+"-init", "ip addr add "+address+"/32 dev lo")
	network.SecurityContext = &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}}}
	return injection{
		mark: `"mesh.example.com/` + name + `":"injected"`,
		additions: []addition{
			{"/spec/initContainers/-", network},
			{"/spec/containers/0", meshProxy(name, port)},
			{"/spec/volumes/-", corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
			{"/metadata/annotations/mesh.example.com~1" + name, "injected"},
		},
	}
}

// setUp is a container that runs a script and says nothing.
func setUp(name, script string) corev1.Container {
	c := kube.Main("")
	c.Name, c.Command[2] = name, script
	return c
}

func meshProxy(name string, port int32) corev1.Container {
	proxy := kube.Sidecar(name + "-proxy")
	proxy.Command[2] = strings.Replace(proxy.Command[2], "while true",
		fmt.Sprintf("sleep 1; httpd -p %d -h /mesh; echo ready >/mesh/ready; echo '%s: ready'; while true", port, name), 1)
	proxy.Lifecycle.PostStart = &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"touch", "/mesh/started"}}}
	proxy.Ports = []corev1.ContainerPort{{Name: name, ContainerPort: port, Protocol: corev1.ProtocolTCP}}
	proxy.Env = []corev1.EnvVar{{Name: "POD", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}}
	proxy.VolumeMounts = []corev1.VolumeMount{{Name: name, MountPath: "/mesh"}}
	ready := corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromString(name)}}
	proxy.StartupProbe = &corev1.Probe{ProbeHandler: ready, TimeoutSeconds: 1, PeriodSeconds: 1, SuccessThreshold: 1, FailureThreshold: 60}
	proxy.ReadinessProbe = proxy.StartupProbe.DeepCopy()
	proxy.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1m")}
	return proxy
}

// Two meshes take the same pod, one before our webhook and one after it, and
// look at it again when others have changed it. Both proxies become native,
// whole, and in the order of admission; main finds both at work.
func testMeshes(t *testing.T) {
	f := newFixtureIn(t, api.ModeNative)
	const label = "meshes"
	meshes := map[string]injection{"/a-mesh": mesh("a-mesh", "192.0.2.1", 15021), "/z-mesh": mesh("z-mesh", "192.0.2.2", 4191)}
	url, bundle := f.serveInjector(meshes)
	for path := range meshes {
		f.registerInjector(path[1:], label, url+path, bundle, admissionregistrationv1.IfNeededReinvocationPolicy)
	}
	main := kube.Main(`set -e; for a in 192.0.2.1 192.0.2.2; do ip addr show lo | grep -qF $a; done
		for p in 15021 4191; do wget -qO- http://127.0.0.1:$p/ready; done`)
	template := kube.Template(corev1.RestartPolicyNever, new("main"), main, kube.Sidecar("proxy"))
	template.Labels[injectLabel] = label
	template.Spec.InitContainers = []corev1.Container{setUp("setup", "true")}
	template.Spec.Volumes = []corev1.Volume{{Name: "own", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	job := kube.Job(f.namespace, "meshed", template)
	job.Spec.BackoffLimit = new(int32(0))
	f.create(job)
	f.natives.expect(job.Name, "setup a-mesh-init a-mesh-proxy+ proxy+ z-mesh-init z-mesh-proxy+ | main")
	pod := f.awaitPod("meshed-", "tracked", essential.IsTracked)
	for _, want := range []corev1.Container{meshProxy("a-mesh", 15021), meshProxy("z-mesh", 4191), kube.Sidecar("proxy")} {
		i := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == want.Name })
		if i < 0 || !equality.Semantic.DeepDerivative(want, pod.Spec.InitContainers[i]) {
			t.Errorf("%s is not whole in %+v", want.Name, pod.Spec.InitContainers)
		}
	}
	f.awaitComplete(job)
	f.awaitGone(pod)
	f.counted(job, 1)
	f.countStopped("meshed-", 3)
}
