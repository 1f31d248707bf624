//go:build e2e

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/essential-containers/essential-containers/test/kube"
)

// injectLabel on a pod says which of the injectors below takes it.
const injectLabel = "example.com/inject"

// Another webhook adds the only sidecar, before ours is called or after it, as
// the first container or the last, or as a native one: it makes no difference.
func testInjectedSidecars(t *testing.T) {
	s := newScene(t, true)
	mesh := kube.Sidecar("mesh")
	native := kube.Sidecar("mesh")
	native.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	// API servers call webhooks in the order of their configurations' names.
	url, bundle := s.serveInjector(map[string]injection{
		"/last":   {"/spec/containers/-", mesh},
		"/first":  {"/spec/containers/0", mesh},
		"/native": {"/spec/initContainers", []corev1.Container{native}},
	})
	for _, when := range []string{"a-before", "z-after"} {
		for _, where := range []string{"last", "first", "native"} {
			s.registerInjector(when+"-"+where, url+"/"+where, bundle)
			template := kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 1"))
			template.Labels[injectLabel] = when + "-" + where
			s.create(kube.Job(s.namespace, when+"-"+where, template))
		}
	}
	for _, when := range []string{"a-before", "z-after"} {
		for _, where := range []string{"last", "first", "native"} {
			job := kube.Job(s.namespace, when+"-"+where, corev1.PodTemplateSpec{})
			s.awaitComplete(job)
			s.counted(job, 1)
			s.count(job.Name, kube.MainStart, 1)
			s.count(job.Name, kube.SidecarStart, 1)
			s.countStopped(job.Name, 1)
			pod := s.awaitEventOf(job, "EssentialContainerCompleted")
			if want := where == "native"; strings.Contains(pod, "stopping") == want {
				t.Errorf("%s: the event says %q", job.Name, pod)
			}
		}
	}
}

// injection is one JSON patch operation.
type injection struct {
	path  string
	value any
}

// serveInjector answers admission reviews where the API server can reach it: on
// the loopback of the cluster's own network namespace.
func (s *scene) serveInjector(injections map[string]injection) (url string, bundle []byte) {
	s.Helper()
	certificate, bundle := s.selfSigned()
	listener, err := cluster.Listen("127.0.0.1:0")
	s.must(err)
	mux := http.NewServeMux()
	for path, injection := range injections {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { injection.answer(w, r) })
	}
	server := &http.Server{Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}, ReadHeaderTimeout: patience}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	s.Cleanup(func() { _ = server.Close() })
	return "https://" + listener.Addr().String(), bundle
}

// answer adds the container, once.
func (i injection) answer(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
		http.Error(w, fmt.Sprint(err), http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	if !strings.Contains(string(review.Request.Object.Raw), `"name":"mesh"`) {
		patch, err := json.Marshal([]map[string]any{{"op": "add", "path": i.path, "value": i.value}})
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

// registerInjector has the API server call url for the pods of the scene that
// carry the label.
func (s *scene) registerInjector(name, url string, bundle []byte) {
	s.Helper()
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name:                    "inject.example.com",
			ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: bundle},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: s.namespace}},
			ObjectSelector:          &metav1.LabelSelector{MatchLabels: map[string]string{injectLabel: name}},
			SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}
	s.create(configuration)
	s.Cleanup(func() {
		if err := cluster.Delete(context.Background(), configuration); err != nil {
			s.Error(err)
		}
	})
}

// selfSigned is a certificate for the loopback, and its own authority.
func (s *scene) selfSigned() (certificate tls.Certificate, bundle []byte) {
	s.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	s.must(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
