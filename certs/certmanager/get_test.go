package certmanager

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var key = types.NamespacedName{Namespace: "ns", Name: "web"}

func scheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return scheme
}

func cluster(t testing.TB, objects ...client.Object) client.WithWatch {
	t.Helper()
	return fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects...).Build()
}

func issuer(conditions ...cmapi.IssuerCondition) *cmapi.Issuer {
	return &cmapi.Issuer{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "ca"},
		Status: cmapi.IssuerStatus{Conditions: conditions}}
}

func clusterIssuer(conditions ...cmapi.IssuerCondition) *cmapi.ClusterIssuer {
	return &cmapi.ClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: "ca"},
		Status: cmapi.IssuerStatus{Conditions: conditions}}
}

// inBubble runs the test with a clock of its own, which starts in the year 2000:
// what the builders made at now is still to come, so that nothing has waited.
func inBubble(t *testing.T, name string, test func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func TestGet(t *testing.T) {
	issuing := func() *certificate { return cert().ready(false, 0, "").issuing(true, 0, "") }
	readyIssuer := issuer(issuerConditions(true, "")...)

	for name, tt := range map[string]struct {
		objects []client.Object
		want    string
	}{
		"the issuer is missing": {
			objects: []client.Object{issuing().object(), request(1).object()},
			want:    `issuer "ca" not found`},
		"an issuer of the same name elsewhere is not its": {
			objects: []client.Object{issuing().object(), clusterIssuer(issuerConditions(false, "sealed")...),
				func() client.Object { i := issuer(); i.Namespace = "other"; return i }()},
			want: `issuer "ca" not found`},
		"the issuer is not ready": {
			objects: []client.Object{issuing().object(), issuer(issuerConditions(false, "sealed")...)},
			want:    `issuer "ca" is not ready: sealed`},
		"the cluster issuer is not ready": {
			objects: []client.Object{issuing().issuerKind("ClusterIssuer", "cert-manager.io").object(), readyIssuer,
				clusterIssuer(issuerConditions(false, "sealed")...)},
			want: `cluster issuer "ca" is not ready: sealed`},
		"an issuer of another group is not looked up": {
			objects: []client.Object{issuing().issuerKind("Issuer", "example.org").object(), request(1).object()},
			want:    `CertificateRequest "web-1" waits for issuer "ca" to sign it`},
		"an issuer of another kind is not looked up": {
			objects: []client.Object{issuing().issuerKind("Isuer", "").object(), request(1).object()},
			want:    `CertificateRequest "web-1" waits for Isuer "ca" to sign it`},
		"the newest of several requests counts, by number": {
			objects: []client.Object{issuing().object(), readyIssuer,
				request(9).object(), request(10).object(), request(11).object()},
			want: `CertificateRequest "web-11" waits for issuer "ca" to sign it`},
		"a request of a deleted namesake does not count": {
			objects: []client.Object{issuing().object(), readyIssuer,
				request(1).object(), request(2).ownedBy("old-uid").object()},
			want: `CertificateRequest "web-1" waits for issuer "ca" to sign it`},
		"a request without a revision counts least": {
			objects: []client.Object{issuing().object(), readyIssuer, request(1).object(),
				func() client.Object { r := request(2).named("web-x").object(); r.Annotations = nil; return r }()},
			want: `CertificateRequest "web-1" waits for issuer "ca" to sign it`},
	} {
		inBubble(t, name, func(t *testing.T) {
			got, err := Get(t.Context(), cluster(t, tt.objects...), key)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(State{Message: tt.want}, got); diff != "" {
				t.Errorf("Get (-want +got):\n%s", diff)
			}
		})
	}
}

// People who own a namespace and nothing else see the state of their Certificates.
func TestGetNeedsNoRightBeyondTheNamespace(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{}, "", nil)
	reader := interceptor.NewClient(
		cluster(t, cert().issuerKind("ClusterIssuer", "").ready(false, 0, "").issuing(true, 0, "").object()),
		interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
				if key.Namespace != "ns" {
					return forbidden
				}
				return c.Get(ctx, key, object, opts...)
			},
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
				if options := (&client.ListOptions{}).ApplyOptions(opts); options.Namespace != "ns" {
					return forbidden
				}
				return c.List(ctx, list, opts...)
			}})
	got, err := Get(t.Context(), reader, key)
	if err != nil || !strings.HasPrefix(got.Message, "waiting for its CertificateRequest") {
		t.Errorf("Get: %+v, %v", got, err)
	}
}

func TestGetOfAMissingCertificate(t *testing.T) {
	_, err := Get(t.Context(), cluster(t), key)
	const want = `getting certificate ns/web: certificates.cert-manager.io "web" not found`
	if !apierrors.IsNotFound(err) || err.Error() != want {
		t.Errorf("Get: %v, want %s", err, want)
	}
}

func TestGetTellsWhichReadFailed(t *testing.T) {
	broken := errors.New("broken")
	for want, funcs := range map[string]interceptor.Funcs{
		"getting certificate ns/web: listing its CertificateRequests: broken": {
			List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return broken }},
		"getting certificate ns/web: getting its issuer: broken": {
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
				if _, ok := object.(*cmapi.Issuer); ok {
					return broken
				}
				return c.Get(ctx, key, object, opts...)
			}},
	} {
		_, err := Get(t.Context(), interceptor.NewClient(cluster(t, cert().object()), funcs), key)
		if !errors.Is(err, broken) || err.Error() != want {
			t.Errorf("Get: %v, want %s", err, want)
		}
	}
}

// A real client against an API server that knows no group but the core one.
func TestGetWithoutCertManager(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/api":
			_, _ = w.Write([]byte(`{"kind": "APIVersions", "versions": ["v1"]}`))
		case "/apis":
			_, _ = w.Write([]byte(`{"kind": "APIGroupList", "apiVersion": "v1", "groups": []}`))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	reader, err := client.New(&rest.Config{Host: server.URL}, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Get(t.Context(), reader, key)
	const want = `getting certificate ns/web: cert-manager is not installed: ` +
		`no matches for kind "Certificate" in version "cert-manager.io/v1"`
	if err == nil || err.Error() != want {
		t.Errorf("Get: %v, want %s", err, want)
	}
}
