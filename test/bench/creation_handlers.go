package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/certs"
	"github.com/essential-containers/essential-containers/test/kube"
	"github.com/essential-containers/essential-containers/webhook"
)

// server is a handler's process in the network of the cluster, where the API
// server reaches it.
type server struct {
	*process
	url string
}

const (
	// allowCommand calls this program as the baseline of the webhook: the same TLS
	// and HTTP, and handlers that allow everything.
	allowCommand = "allow"
	patchPath    = "/patch" // with the webhook's answer: to apply it costs the API server some time
)

func allowServer(ctx context.Context, args []string) error {
	flags, _, health, _ := contenderFlags(allowCommand)
	address := flags.String("bind-address", "", "where the API server is answered")
	folder := flags.String("cert-dir", "", "where tls.crt and tls.key are")
	if err := flags.Parse(args); err != nil {
		return err
	}
	source := certs.NewSource(certs.Options{Dir: *folder, Registerer: prometheus.NewRegistry()})
	mux := http.NewServeMux()
	patch, err := json.Marshal([]map[string]string{{
		"op": "add", "path": "/metadata/annotations/" + strings.ReplaceAll(api.TrackedAnnotation, "/", "~1"), "value": "main",
	}})
	if err != nil {
		return err
	}
	mux.HandleFunc(allowPath, allowAll)
	mux.HandleFunc(patchPath, func(w http.ResponseWriter, r *http.Request) { allow(w, r, patch) })
	server := &http.Server{Addr: *address, Handler: mux, TLSConfig: source.TLSConfig(), ReadHeaderTimeout: time.Second}
	go serveReady(*health)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return source.Start(ctx) })
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	group.Go(func() error {
		if err := server.ListenAndServeTLS("", ""); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return group.Wait()
}

// allow decodes the review but not what is in it.
func allow(w http.ResponseWriter, r *http.Request, patch []byte) {
	body, err := io.ReadAll(r.Body)
	var review admissionv1.AdmissionReview
	if err == nil {
		err = json.Unmarshal(body, &review)
	}
	if err != nil || review.Request == nil {
		http.Error(w, "no review", http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	if patch != nil {
		review.Response.Patch, review.Response.PatchType = patch, new(admissionv1.PatchTypeJSONPatch)
	}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

// serveWebhook starts the webhook, with a certificate that the bundle vouches for.
func (b *bench) serveWebhook(ctx context.Context) (s *server, bundle []byte, err error) {
	if bundle, err = writeCertificate(b.certificates()); err != nil {
		return nil, nil, fmt.Errorf("making a certificate: %w", err)
	}
	s, err = b.serve(ctx, string(webhookHandler), b.program, "webhook", "--cert-dir="+b.certificates(), "--shutdown-delay=0s")
	return s, bundle, err
}

func (b *bench) certificates() string { return filepath.Join(b.cluster.folder, "tls") }

// serveHandlers starts the webhook and its baselines, until stop.
func (b *bench) serveHandlers(ctx context.Context) (endpoints map[handler]string, bundle []byte, stop func(), err error) {
	own, bundle, err := b.serveWebhook(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	base, err := b.serve(ctx, string(baselineHandler), b.loop.program, allowCommand, "--cert-dir="+b.certificates())
	if err != nil {
		own.stop()
		return nil, nil, nil, err
	}
	endpoints = map[handler]string{
		webhookHandler: own.url + webhook.PodsPath, baselineHandler: base.url + allowPath, patchingHandler: base.url + patchPath,
	}
	return endpoints, bundle, func() { own.stop(); base.stop() }, nil
}

// serve starts a program in the network of the cluster and returns once it is
// ready.
func (b *bench) serve(ctx context.Context, name, program string, args ...string) (*server, error) {
	s := &server{process: &process{ended: make(chan error, 1), log: filepath.Join(b.cluster.folder, name+".log")}}
	var address string
	if err := freeBy(b.local.Listen, &address, &s.health, &s.metrics); err != nil {
		return nil, err
	}
	s.url = "https://" + address
	supervisor, err := b.local.Supervisor()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.command = exec.Command("nsenter", append([]string{"--net=/proc/" + supervisor + "/ns/net", program}, append(args,
		"--bind-address="+address, "--health-probe-bind-address="+s.health, "--metrics-bind-address="+s.metrics)...)...)
	s.command.Stderr = log
	s.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("starting the %s: %w", name, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		err := s.command.Wait()
		cancel(fmt.Errorf("it has ended: %w", err))
		s.ended <- err
	}()
	if err := b.awaitReady(ctx, s, address); err != nil {
		s.stop()
		return nil, fmt.Errorf("starting the %s: %w (%w), see %s", name, err, context.Cause(ctx), s.log)
	}
	return s, nil
}

// awaitReady asks from within the network of the cluster: both listeners have to
// be there.
func (b *bench) awaitReady(ctx context.Context, s *server, address string) error {
	client := b.inCluster()
	return kube.Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
		if _, err := getBy(ctx, client, "http://"+s.health+"/readyz"); err != nil {
			return false, err.Error()
		}
		connection, err := b.local.Dial(ctx, "tcp", address)
		if err != nil {
			return false, err.Error()
		}
		connection.Close()
		return true, ""
	})
}

// inCluster is a client in the network of the cluster.
func (b *bench) inCluster() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: b.local.Dial, DisableKeepAlives: true}}
}

// writeCertificate makes one for the loopback, which is its own authority.
func writeCertificate(folder string) (bundle []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	bundle = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return bundle, errors.Join(
		os.MkdirAll(folder, 0o700),
		os.WriteFile(filepath.Join(folder, corev1.TLSCertKey), bundle, 0o600),
		os.WriteFile(filepath.Join(folder, corev1.TLSPrivateKeyKey), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600),
	)
}

// registration is the name of the configuration.
const registration = "bench.essential-containers"

// name is the handler's in the configuration.
func (of handler) name() string { return string(of) + "." + registration }

// podsWebhook is the one for pods in the chart.
func (b *bench) podsWebhook(ctx context.Context) (*admissionregistrationv1.MutatingWebhook, error) {
	objects, err := b.render(ctx, []string{"webhook-configuration.yaml"})
	if err != nil {
		return nil, err
	}
	for _, object := range objects {
		configuration, ok := object.(*admissionregistrationv1.MutatingWebhookConfiguration)
		if !ok {
			continue
		}
		for i := range configuration.Webhooks {
			if w := &configuration.Webhooks[i]; w.Name == kube.PodsWebhook {
				return w, nil
			}
		}
	}
	return nil, errors.New("the chart has no webhook for pods")
}

// newRegistration has the API server ask each handler as the chart has it ask the
// webhook, about the pods with the handler's label.
func newRegistration(pods *admissionregistrationv1.MutatingWebhook, endpoints map[handler]string, bundle []byte) *admissionregistrationv1.MutatingWebhookConfiguration {
	c := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: registration}}
	for _, of := range handlers {
		url, ok := endpoints[of]
		if !ok {
			continue
		}
		w := pods.DeepCopy()
		w.Name = of.name()
		w.ClientConfig = admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: bundle}
		w.ObjectSelector = metav1.AddLabelToSelector(w.ObjectSelector, handlerLabel, string(of))
		c.Webhooks = append(c.Webhooks, *w)
	}
	return c
}

func (b *bench) register(ctx context.Context, configuration *admissionregistrationv1.MutatingWebhookConfiguration) (unregister func(context.Context) error, err error) {
	configurations := b.cluster.AdmissionregistrationV1().MutatingWebhookConfigurations()
	unregister = func(ctx context.Context) error {
		if err := configurations.Delete(ctx, registration, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("unregistering the handlers: %w", err)
		}
		return nil
	}
	if err := unregister(ctx); err != nil { // an interrupted run's
		return nil, err
	}
	if _, err := configurations.Create(ctx, configuration, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("registering the handlers: %w", err)
	}
	return unregister, nil
}
