package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/test/kube"
)

// breakage is something that the broken reaper, or the broken admission, does
// to works of one kind, and what the judge has to find.
type breakage struct {
	kind  string // of work; of the processes, "essential"
	what  string
	found invariant
	texts []string // each in a violation
	also  []invariant
}

// breakages are all of them: at least one for every invariant. The others, and
// all other kinds, must be found in order. Of the kind "holding", one pod takes what
// the next one is rejected for.
var breakages = []breakage{
	{"bare", "stops that are taken for done and were never sent", reaped, []string{"its main completed and it was never stopped", "it is left"}, nil},
	{"delayed", "stops while main runs", spared, []string{"recorded as Succeeded while main had not completed"}, []invariant{once, phaseTrue}},
	{"plain", "deletions in place of stops", once, []string{`main said "completed" 2 times`}, []invariant{reaped, spared, phaseTrue}},
	{"retained", "pods admitted untracked", tracked, []string{`tracked is "", want "main"`}, []invariant{reaped, once}},
	{"essential", "goroutines, files and memory for every request", leakless, []string{"goroutines", "file descriptors", "MiB of memory"}, nil},
	{"holding", "terminal phases in place of stops", phaseLast, []string{"its phase was Succeeded, and main ended with 0, sidecar runs"}, []invariant{reaped, spared, once, noneRejected}},
	{"failing", "failures recorded as completions", phaseTrue, []string{`must be Failed: main's last word was "failed"`}, []invariant{reaped, spared, once}},
	{competing.name, "what pods with a terminal phase still hold", noneRejected, []string{"it was rejected: "}, []invariant{once}},
}

// missed compares what the judge found with what was broken, and says where
// they differ.
func missed(found []violation) (differences []string) {
	for _, b := range breakages {
		for _, text := range b.texts {
			if !slices.ContainsFunc(found, func(v violation) bool {
				return v.invariant == b.found && kindOf(v.about) == b.kind && strings.Contains(v.what, text)
			}) {
				differences = append(differences, fmt.Sprintf("%s, %s: %q was not found", b.found, b.what, text))
			}
		}
	}
	for _, v := range found {
		if !slices.ContainsFunc(breakages, func(b breakage) bool {
			return kindOf(v.about) == b.kind && (v.invariant == b.found || slices.Contains(b.also, v.invariant))
		}) {
			differences = append(differences, "nobody broke that: "+v.String())
		}
	}
	return differences
}

// bite runs the broken reaper, with no other faults, and returns an error if the
// judge does not find what it breaks, or finds more.
func bite(ctx context.Context, t *trial) error {
	t.broken, t.minutes, t.deck, t.pace = true, 0.5, brokenKinds(), steady*2/5
	t.evidence, t.only, t.values = filepath.Join(t.evidence, "broken"), "", nil
	found, err := t.run(ctx)
	if err != nil {
		return err
	}
	if differences := missed(found); len(differences) > 0 {
		return fmt.Errorf("the judge did not find what was broken:\n  %s", strings.Join(differences, "\n  "))
	}
	for _, b := range breakages {
		t.say("%s found: %s", b.found, b.what)
	}
	return nil
}

// brokenKinds are the kinds of works that the breakages are about, each once, and
// holding three times: only some of its pods are in the way of a competing one.
// The run creates some 35 works, so that each kind comes several times.
func brokenKinds() []kind {
	broken := slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return !spoilt(k.name) })
	return append(broken, holding, holding)
}

// spoilt reports whether something is broken for works of this name.
func spoilt(work string) bool {
	return slices.ContainsFunc(breakages, func(b breakage) bool { return b.kind == kindOf(work) })
}

// kindOf is the kind of work that a violation is about.
func kindOf(about string) string {
	kind, _, _ := strings.Cut(about, "-")
	return kind
}

// breakRelease has the reaper's Deployment run the broken program, removes the
// policies that would stop it, and has the API server not call the webhook for
// pods of one kind.
func (t *trial) breakRelease(ctx context.Context) error {
	webhooks := fmt.Appendf(nil, `{"webhooks":[{"name":%q,"matchConditions":[{"name":"broken","expression":"!object.metadata.labels[?'%s'].orValue('').startsWith('retained-')"}]}]}`,
		kube.PodsWebhook, workLabel)
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{}
	configuration.Name = kube.WebhookConfiguration
	if err := t.cluster.Patch(ctx, configuration, client.RawPatch(types.StrategicMergePatchType, webhooks)); err != nil {
		return fmt.Errorf("breaking the admission: %w", err)
	}
	// What limits the reaper's rights, and what denies labelled pods that are not tracked.
	for _, policy := range []string{"reaper", "tracking"} {
		binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}
		binding.Name = kube.WebhookConfiguration + "." + policy
		if err := t.cluster.Delete(ctx, binding); err != nil {
			return fmt.Errorf("removing the policy %s: %w", policy, err)
		}
	}
	role, binding := statusRights()
	for _, object := range []client.Object{role, binding} {
		if err := t.cluster.Create(ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("granting the broken reaper the right to pods/status: %w", err)
		}
	}
	return t.runProgram(ctx, "broken")
}

// statusRights are what the broken reaper has and the good one has not.
func statusRights() (*rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding) {
	name := metav1.ObjectMeta{Name: "faults-broken-reaper"}
	return &rbacv1.ClusterRole{
			ObjectMeta: name,
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods/status"}, Verbs: []string{"patch"}}},
		}, &rbacv1.ClusterRoleBinding{
			ObjectMeta: name,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name.Name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: kube.Release, Name: kube.ReaperDeployment}},
		}
}
