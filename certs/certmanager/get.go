package certmanager

import (
	"context"
	"fmt"
	"strconv"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	"github.com/cert-manager/cert-manager/pkg/apis/certmanager"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const pollInterval = time.Second

// AddToScheme adds the types that [Get] and [Wait] read.
func AddToScheme(scheme *runtime.Scheme) error { return cmapi.AddToScheme(scheme) }

// Get reads a Certificate with its newest CertificateRequest and its issuer, and
// describes them. A Certificate that does not exist is an error (IsNotFound),
// and so is a cluster without cert-manager.
func Get(ctx context.Context, reader client.Reader, key types.NamespacedName) (State, error) {
	state, err := get(ctx, reader, key)
	if err != nil {
		return State{}, fmt.Errorf("getting certificate %s: %w", key, err)
	}
	return state, nil
}

// Wait polls the Certificate each second until it is ready, and returns its
// state. It calls report with each state whose message differs from the one
// before; what keeps the state from being read is reported as a message too,
// and does not end the waiting. When ctx is done first, the error wraps ctx's and
// carries the last message.
func Wait(ctx context.Context, reader client.Reader, key types.NamespacedName, report func(State)) (State, error) {
	last := State{Message: "its state is not known"}
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		state, err := get(ctx, reader, key)
		if ctx.Err() != nil {
			return false, nil // a call that was cut off says nothing about the Certificate
		}
		if err != nil {
			state.Message = err.Error()
		}
		if state.Message != last.Message {
			report(state)
		}
		last = state
		return state.Ready, nil
	})
	if err != nil {
		return last, fmt.Errorf("certificate %s not ready: %s: %w", key, last.Message, err)
	}
	return last, nil
}

func get(ctx context.Context, reader client.Reader, key types.NamespacedName) (State, error) {
	var cert cmapi.Certificate
	err := reader.Get(ctx, key, &cert)
	if meta.IsNoMatchError(err) {
		return State{}, fmt.Errorf("cert-manager is not installed: %w", err)
	}
	if err != nil {
		return State{}, err
	}
	request, err := newestRequest(ctx, reader, &cert)
	if err != nil {
		return State{}, err
	}
	issuer, err := getIssuer(ctx, reader, &cert)
	if err != nil {
		return State{}, err
	}
	return Describe(&cert, request, issuer, time.Now()), nil
}

// newestRequest returns the Certificate's request of the highest revision, or
// nil. The request's owner identifies its Certificate, as for cert-manager itself: the
// annotation with the name would also match the request of a deleted Certificate of
// the same name.
func newestRequest(ctx context.Context, reader client.Reader, cert *cmapi.Certificate) (*cmapi.CertificateRequest, error) {
	var requests cmapi.CertificateRequestList
	if err := reader.List(ctx, &requests, client.InNamespace(cert.Namespace)); err != nil {
		return nil, fmt.Errorf("listing its CertificateRequests: %w", err)
	}
	var newest *cmapi.CertificateRequest
	for i := range requests.Items {
		request := &requests.Items[i]
		if metav1.IsControlledBy(request, cert) && (newest == nil || revision(request) > revision(newest)) {
			newest = request
		}
	}
	return newest, nil
}

// revision returns the issuance that the request was made for, counted from 1;
// 0: it does not say.
func revision(request *cmapi.CertificateRequest) int {
	n, err := strconv.Atoi(request.Annotations[cmapi.CertificateRequestRevisionAnnotationKey])
	if err != nil {
		return 0
	}
	return n
}

// getIssuer returns what is known of the Certificate's issuer: nil if it is not
// one of cert-manager's own, or if the caller may not read it, which people who
// own no more than a namespace may not do with a ClusterIssuer.
func getIssuer(ctx context.Context, reader client.Reader, cert *cmapi.Certificate) (*Issuer, error) {
	ref := cert.Spec.IssuerRef
	if apiutil.IssuerGroup(ref) != certmanager.GroupName {
		return nil, nil
	}
	var object cmapi.GenericIssuer
	key := client.ObjectKey{Name: ref.Name}
	switch apiutil.IssuerKind(ref) {
	case cmapi.IssuerKind:
		object, key.Namespace = &cmapi.Issuer{}, cert.Namespace
	case cmapi.ClusterIssuerKind:
		object = &cmapi.ClusterIssuer{}
	default:
		return nil, nil
	}
	err := reader.Get(ctx, key, object)
	switch {
	case apierrors.IsNotFound(err):
		return &Issuer{Missing: true}, nil
	case apierrors.IsForbidden(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("getting its issuer: %w", err)
	}
	return &Issuer{Conditions: object.GetStatus().Conditions}, nil
}
