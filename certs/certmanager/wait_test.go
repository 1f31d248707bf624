package certmanager

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func TestWaitReportsEachChangeUntilReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster(t)
		must := func(err error) {
			if err != nil {
				t.Error(err)
			}
		}
		// Each report brings the cluster one step on.
		steps := map[string]func(){
			`certificates.cert-manager.io "web" not found`: func() {
				must(c.Create(t.Context(), cert().ready(false, 0, "").issuing(true, 0, "").object()))
			},
			`issuer "ca" not found`: func() { must(c.Create(t.Context(), issuer(issuerConditions(true, "")...))) },
			`waiting for its CertificateRequest`: func() {
				issued := cert().ready(true, 0, "").issued(1, 90*day, 60*day).object()
				var present cmapi.Certificate
				must(c.Get(t.Context(), key, &present))
				issued.ResourceVersion = present.ResourceVersion
				must(c.Update(t.Context(), issued))
			},
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var reported []string
		state, err := Wait(ctx, c, key, func(s State) {
			reported = append(reported, s.Message)
			if step := steps[s.Message]; step != nil {
				step()
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		const valid = "valid until 2026-05-30T12:00:00Z, to be renewed at 2026-04-30T12:00:00Z"
		if diff := cmp.Diff([]string{`certificates.cert-manager.io "web" not found`, `issuer "ca" not found`,
			`waiting for its CertificateRequest`, valid}, reported); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(State{Ready: true, NotAfter: now.Add(90 * day), Message: valid}, state); diff != "" {
			t.Errorf("Wait (-want +got):\n%s", diff)
		}
	})
}

func TestWaitEndsWithTheLastMessage(t *testing.T) {
	for name, tt := range map[string]struct {
		objects []client.Object
		reports int
		want    string
	}{
		"the issuer is missing": {
			objects: []client.Object{cert().object()}, reports: 1,
			want: `certificate ns/web not ready: issuer "ca" not found: context deadline exceeded`},
		"there is no Certificate": {reports: 1,
			want: `certificate ns/web not ready: certificates.cert-manager.io "web" not found: context deadline exceeded`},
	} {
		inBubble(t, name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+time.Millisecond)
			defer cancel()
			// A call that meets the end of ctx is cut off by it.
			calls := 0
			reader := interceptor.NewClient(cluster(t, tt.objects...), interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
					if _, ok := object.(*cmapi.Certificate); ok {
						calls++
					}
					if calls > 10 {
						<-ctx.Done()
						return ctx.Err()
					}
					return c.Get(ctx, key, object, opts...)
				}})
			reports := 0
			state, err := Wait(ctx, reader, key, func(State) { reports++ })
			if !errors.Is(err, context.DeadlineExceeded) || err.Error() != tt.want {
				t.Errorf("Wait: %v, want %s", err, tt.want)
			}
			if reports != tt.reports || state.Ready || !strings.Contains(tt.want, state.Message) {
				t.Errorf("%d reports, last %+v", reports, state)
			}
		})
	}
}

func TestWaitOnAContextThatIsDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Wait(ctx, cluster(t, cert().object()), key, func(s State) { t.Errorf("reported %q", s.Message) })
	const want = `certificate ns/web not ready: its state is not known: context canceled`
	if err == nil || err.Error() != want {
		t.Errorf("Wait: %v, want %s", err, want)
	}
}
