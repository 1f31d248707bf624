package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/test/kube"
)

// programFolder is where the node has the reaper that the run builds, and the orders
// that control it. The reaper's container has it as /orders.
const programFolder = "/var/lib/faults-reaper"

func (t *trial) file(name string) string { return filepath.Join(t.State(), programFolder, name) }

// order replaces an order's file in one step, because the reapers read it all the time.
func (t *trial) order(name, value string) error {
	return errors.Join(os.WriteFile(t.file("draft"), []byte(value), 0o644), os.Rename(t.file("draft"), t.file(name)))
}

// failedAnswers returns how answers to the reapers failed on order.
func (t *trial) failedAnswers() []string {
	text, _ := os.ReadFile(t.file("failed"))
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
}

// install installs the chart, and has the reaper's Deployment run the program of the
// folder reaper instead of the image's own.
func (t *trial) install(ctx context.Context) error {
	t.say("seed %d: %v minutes; installing the chart, with a reaper that takes orders", t.seed, t.minutes)
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: kube.Release, Name: kube.ReaperDeployment}}
	if t.Get(ctx, client.ObjectKeyFromObject(deployment), deployment) == nil { // an earlier run's, which Helm would not put right
		for _, object := range statusRights() {
			if err := client.IgnoreNotFound(t.Delete(ctx, object)); err != nil {
				return err
			}
		}
		if err := t.Uninstall(ctx); err != nil {
			return err
		}
	}
	if err := t.Install(ctx, t.chart, t.image, func(string) {}, t.values...); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", t.file("reaper"), "github.com/essential-containers/essential-containers/test/faults/reaper")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the reaper that takes orders: %w: %s", err, output)
	}
	// The reaper is not root, and appends to one file.
	if err := errors.Join(os.WriteFile(t.file("failed"), nil, 0o666), os.Chmod(t.file("failed"), 0o666),
		t.order("ahead", "0s"), t.order("answers", ""), t.order("broken", "")); err != nil {
		return err
	}
	patch := fmt.Appendf(nil, `{"spec":{"template":{"spec":{"volumes":[{"name":"faults","hostPath":{"path":%q}}],`+
		`"containers":[{"name":"reaper","volumeMounts":[{"name":"faults","mountPath":"/essential-containers","subPath":"reaper"},{"name":"faults","mountPath":"/orders"}]}]}}}}`, programFolder)
	if err := t.Patch(ctx, deployment, client.RawPatch(types.StrategicMergePatchType, patch)); err != nil {
		return fmt.Errorf("replacing the reaper: %w", err)
	}
	generation := deployment.Generation
	return kube.Await(ctx, 3*time.Minute, func(ctx context.Context) (bool, string) {
		if err := t.Get(ctx, client.ObjectKeyFromObject(deployment), deployment); err != nil {
			return false, err.Error()
		}
		s, want := deployment.Status, *deployment.Spec.Replicas
		return s.ObservedGeneration >= generation && s.UpdatedReplicas == want && s.AvailableReplicas == want && s.Replicas == want, "the reaper that takes orders does not run yet"
	})
}

// breakRelease orders the reaper to be broken, removes the policies that would stop
// it, and has the API server not call the webhook for pods of one kind.
func (t *trial) breakRelease(ctx context.Context) error {
	t.say("a reaper that is broken on purpose: the judge must find what it does")
	webhooks := fmt.Appendf(nil, `{"webhooks":[{"name":%q,"matchConditions":[{"name":"broken","expression":"!object.metadata.labels[?'%s'].orValue('').startsWith('retained-')"}]}]}`,
		kube.PodsWebhook, workLabel)
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: kube.WebhookConfiguration}}
	if err := t.Patch(ctx, configuration, client.RawPatch(types.StrategicMergePatchType, webhooks)); err != nil {
		return fmt.Errorf("breaking the admission: %w", err)
	}
	// What limits the reaper's rights, and what denies labelled pods that are not tracked.
	for _, policy := range []string{"reaper", "tracking"} {
		binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: kube.WebhookConfiguration + "." + policy}}
		if err := t.Delete(ctx, binding); err != nil {
			return fmt.Errorf("removing the policy %s: %w", policy, err)
		}
	}
	for _, object := range statusRights() {
		if err := t.Create(ctx, object); err != nil {
			return fmt.Errorf("granting the broken reaper the right to pods/status: %w", err)
		}
	}
	return t.order("broken", "true")
}

// statusRights are what the broken reaper needs in addition to the chart's.
func statusRights() []client.Object {
	name := metav1.ObjectMeta{Name: "faults-broken-reaper"}
	return []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: name, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods/status"}, Verbs: []string{"patch"}}}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: name,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name.Name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: kube.Release, Name: kube.ReaperDeployment}},
		},
	}
}
