package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
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
// all other kinds, must be found in order.
var breakages = []breakage{
	{"bare", "stops that are taken for done and were never sent", reaped, []string{"its main completed and it was never stopped", "it is left"}, nil},
	{"delayed", "stops while main runs", spared, []string{"by the reaper while main had not ended"}, []invariant{once}},
	{"plain", "deletions in place of stops", once, []string{`main said "start" 2 times`}, []invariant{reaped}},
	{"retained", "pods admitted untracked", tracked, []string{`tracked is "", want "main"`}, []invariant{reaped, once}},
	{"essential", "goroutines, files and memory for every request", leakless, []string{"goroutines", "file descriptors", "MiB of memory"}, nil},
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
	t.broken, t.minutes, t.deck, t.pace = true, 0.4, kinds, steady/2
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

// spoilt reports whether something is broken for works of this name.
func spoilt(work string) bool {
	return slices.ContainsFunc(breakages, func(b breakage) bool { return b.kind == kindOf(work) })
}

// kindOf is the kind of work that a violation is about.
func kindOf(about string) string {
	kind, _, _ := strings.Cut(about, "-")
	return kind
}

// breakRelease has the reaper's Deployment run the broken program, and the API
// server not ask the webhook about pods of one kind.
func (t *trial) breakRelease(ctx context.Context) error {
	webhooks := fmt.Appendf(nil, `{"webhooks":[{"name":%q,"matchConditions":[{"name":"broken","expression":"!object.metadata.labels[?'%s'].orValue('').startsWith('retained-')"}]}]}`,
		kube.PodsWebhook, workLabel)
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{}
	configuration.Name = kube.WebhookConfiguration
	if err := t.cluster.Patch(ctx, configuration, client.RawPatch(types.StrategicMergePatchType, webhooks)); err != nil {
		return fmt.Errorf("breaking the admission: %w", err)
	}
	return t.runProgram(ctx, "broken")
}
